"""How likely a model finds a given answer: what loss, perplexity and memorisation are computed from."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from ftsdk.errors import SpecError

__all__ = ["Likelihood"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Likelihood:
    """The log-probability of an answer after its prompt."""

    log_probability: float
    """Natural logarithm, summed over the tokens; at most 0."""
    tokens: int
    """Of the answer, with the end of text that the template puts after it."""

    @property
    def loss(self) -> float:
        """The mean negative log-probability of a token, as the training loss counts it."""
        return -self.log_probability / self.tokens

    def to_json(self) -> str:
        """Return the likelihood as JSON."""
        return json.dumps({"log_probability": self.log_probability, "tokens": self.tokens})

    @classmethod
    def from_json(cls, text: str) -> Likelihood:
        """Read what `to_json` wrote.

        Raises:
            SpecError: It is something else.
        """
        try:
            found: Any = json.loads(text)
            log_probability, tokens = float(found["log_probability"]), int(found["tokens"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise SpecError(
                f"this is not a likelihood: {text[:80]!r}; a scorer reads it with reads='likelihood'"
            ) from error
        if not math.isfinite(log_probability) or tokens < 1:
            raise SpecError(f"this is not a likelihood: {text[:80]!r}")
        return cls(log_probability=log_probability, tokens=tokens)
