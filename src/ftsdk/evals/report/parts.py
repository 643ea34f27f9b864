"""What a report has beside its scores: slices, confusions, costs, and the examples worth reading."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ftsdk._format import money
from ftsdk._rich_text import rich_text
from ftsdk.evals.confusion import ConfusionMatrix
from ftsdk.evals.results import EvalScore, PairedScore

__all__ = [
    "LEAST_PAIRED",
    "AnswerShown",
    "CostBasis",
    "EvalJudgeCost",
    "ExampleKind",
    "ExampleList",
    "ExampleShown",
    "SlicePair",
    "SliceScore",
    "TargetConfusion",
    "TargetCost",
]

LEAST_PAIRED = 10
"""Examples from which on a slice has a difference: on fewer, a single answer decides what it looks like."""
_SMALL_SLICE = 30

ExampleKind = Literal["lost", "won", "failed", "worst", "best"]
CostBasis = Literal["metered", "hourly", "unknown"]


@dataclass(frozen=True, kw_only=True)
class SliceScore:
    """The score of one target on the examples with one value in a column."""

    column: str
    value: str
    """The value as text; rare values are taken together."""
    score: EvalScore
    """By the eval's first metric."""

    @property
    def is_small(self) -> bool:
        """Whether it has fewer than 30 examples, so that its interval is too wide for most decisions."""
        return self.score.n < _SMALL_SLICE


@dataclass(frozen=True, kw_only=True)
class SlicePair:
    """Two targets on the examples with one value in a column, example by example."""

    column: str
    value: str
    pair: PairedScore
    """By the eval's first metric. Its `p_holm` allows for all slices of the report."""


@dataclass(frozen=True, kw_only=True)
class TargetConfusion:
    """Which classes one target took for which on one eval."""

    name: str
    """The eval."""
    target: str
    matrix: ConfusionMatrix


@dataclass(frozen=True, kw_only=True)
class TargetCost:
    """What the answers of one target to one eval cost, how long they took, and how many were accepted."""

    name: str
    """The eval."""
    target: str
    n: int
    """Examples."""
    accepted: int | None
    """Answers that scored at least `accept_at`; None: the scorer has no scale from 0 to 1 on which more is better."""
    accept_at: float = 1.0
    usd: Decimal | None = None
    """What all answers cost, in US dollars; None: not known, because some of them have no price."""
    basis: CostBasis = "unknown"
    """Where `usd` comes from: metered by the endpoint, or the seconds at a price by the hour."""
    median_seconds: float | None = None
    """Half of the answers took no longer; None: not measured."""
    mean_input_tokens: float | None = None
    mean_output_tokens: float | None = None

    @property
    def usd_per_1000_accepted(self) -> Decimal | None:
        """US dollars for a thousand accepted answers; None: the cost isn't known, or no answer was accepted."""
        return 1000 * self.usd / self.accepted if self.usd is not None and self.accepted else None


@dataclass(frozen=True, kw_only=True)
class EvalJudgeCost:
    """What the model that judges an eval has cost, beside what the answers cost."""

    name: str
    """The eval."""
    requests: int
    """Verdicts that are kept in the folder of the eval, those of earlier evaluations included."""
    input_tokens: int
    output_tokens: int
    usd: Decimal | None = None
    """US dollars of these; None: the price of no request is known."""

    def __str__(self) -> str:
        price = "an unknown amount" if self.usd is None else money(self.usd)
        return (
            f"{self.name}: the judge cost {price} for {self.requests:,} verdicts ({self.input_tokens:,} tokens in, "
            f"{self.output_tokens:,} out), beside the answers and with earlier evaluations into this folder"
        )

    __rich__ = rich_text


@dataclass(frozen=True, kw_only=True)
class AnswerShown:
    """What one target answered to an example that the report shows."""

    target: str
    output: str
    """Shortened in the middle if long."""
    value: float
    reason: str
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExampleShown:
    """An example that the report shows, with the answers of all targets."""

    name: str
    """The eval."""
    index: int
    """Position of the row in the dataset, from 0."""
    prompt: str
    """Shortened in the middle if long, as the reference."""
    expected: str
    answers: tuple[AnswerShown, ...]


@dataclass(frozen=True, kw_only=True)
class ExampleList:
    """Which examples of an eval to read first, and why."""

    name: str
    """The eval."""
    kind: ExampleKind
    """`"lost"`: `target` scored lower than `other`; `"won"`: higher; `"failed"`: no answer; `"worst"`; `"best"`."""
    target: str
    other: str | None = None
    total: int
    """How many such examples there are; the report shows the first ones."""
    indexes: tuple[int, ...]
    """Positions in the dataset of those that it shows."""
