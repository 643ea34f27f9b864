"""The gates of an export: each holds one thing against the model that was evaluated, and has a verdict of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["TOLERANCES", "ChangedAnswer", "Gate", "GateVerdict", "Tolerance"]

GateVerdict = Literal["same", "within", "differs", "can't tell", "not checked"]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate."""

    name: str
    """`"files"`, `"tokenizer"`, `"template"`, `"ends"`, `"adapter"`, `"strength"`, `"log-probabilities"`, `"greedy"` or
    `"score"`."""
    verdict: GateVerdict
    detail: str
    """What was compared, and how it came out."""
    figures: Mapping[str, float] = field(default_factory=dict[str, float])
    """The numbers behind it, such as `mean_kl` in nats."""

    @property
    def has_failed(self) -> bool:
        """Whether the export isn't the model that was evaluated."""
        return self.verdict == "differs"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "figures": dict(self.figures)}


@dataclass(frozen=True, kw_only=True)
class ChangedAnswer:
    """A prompt to which the exported model gives another answer."""

    prompt: str
    before: str
    after: str
    at_token: int
    """The first token that differs, from 0."""
    margin: float
    """How sure the reference was there: the log-probability of its token minus that of the next best, in nats."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What a number format may change. Where a limit is None, there is none."""

    most_mean_difference: float | None = None
    """Of log-probabilities, in nats: the mean over the reference's ten most likely tokens of each step."""
    most_difference: float | None = None
    """The largest one."""
    most_kl: float
    """The mean divergence of the two distributions, in nats."""
    tie_margin: float | None
    """Greedy answers are equal, but where the reference was less sure than this, in nats. None: they may differ."""

    @property
    def has_equality(self) -> bool:
        """Whether answers are held to be equal."""
        return self.tie_margin is not None


TOLERANCES: Mapping[str, Tolerance] = {
    "f32": Tolerance(most_difference=1e-3, most_mean_difference=1e-4, most_kl=1e-6, tie_margin=1e-3),
    "f16": Tolerance(most_difference=0.3, most_mean_difference=0.02, most_kl=1e-3, tie_margin=0.1),
    # No limit on the mean: where a tuned model is sure, most of the ten tokens are never said, and rounding moves these
    # (0.19 nats in a run whose score didn't change). An adapter of another strength has a gate of its own.
    "bf16": Tolerance(most_kl=0.01, tie_margin=0.5),
    # About twice the worst of two adapters on two bases; see docs/explanation/export-gates.md.
    "q8_0": Tolerance(most_kl=0.025, tie_margin=None),
    "q6_k": Tolerance(most_kl=0.05, tie_margin=None),
    "q5_k_m": Tolerance(most_kl=0.15, tie_margin=None),
    "q4_k_m": Tolerance(most_kl=0.25, tie_margin=None),
}
"""By number format. A GGUF file of float32 is computed by other kernels than torch's, so it is held to those of f16."""
