"""Where a run is, what it is called, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from ftsdk.errors import Diagnosis, SpecError

__all__ = ["TERMINAL", "Artifact", "RunRef", "RunState", "RunStatus"]

RunState = Literal["queued", "running", "finalizing", "cancelling", "succeeded", "failed", "cancelled", "unknown"]
"""Where a run is. `unknown` is not terminal: the backend said a word that nobody has heard of yet, and it is kept."""


TERMINAL: frozenset[RunState] = frozenset({"succeeded", "failed", "cancelled"})
"""The states that a run never leaves."""


@dataclass(frozen=True, kw_only=True)
class RunRef:
    """The name of a run, good in any process on any day: `local:20261123-ab12cd`."""

    backend: str
    id: str
    native: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """What the backend itself calls things, job ids and file ids, and what it said that the run would cost. Never a secret."""

    def __str__(self) -> str:
        return f"{self.backend}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> RunRef:
        """Read a ref as it was printed.

        Raises:
            SpecError: The text isn't of the form `backend:id`.
        """
        backend, colon, identifier = text.strip().partition(":")
        if not (backend and colon and identifier):
            raise SpecError(f"{text!r} is no run ref; one looks like 'local:20261123-ab12cd' (see `ftsdk runs`)")
        return cls(backend=backend, id=identifier)


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """Where a run is now."""

    state: RunState
    native: str = ""
    """The backend's own word for it."""
    reason: str = ""
    diagnosis: Diagnosis | None = None
    log_tail: str = ""
    attempts: int = 1
    price_usd: Decimal | None = None
    """What the run has cost, once the place says so; US dollars."""

    @property
    def is_terminal(self) -> bool:
        """True if the run will never change again."""
        return self.state in TERMINAL


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """The weights of a finished run, whole: everything that the manifest lists was there and had the right hash."""

    path: Path
    kind: Literal["adapter", "model"]
    base: str
    """Id of the model that was tuned."""
    manifest: Mapping[str, Any]
