"""`agreement`: how far the verdicts of a judge agree with those of people, beyond chance."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ftsdk._rich_text import rich_text
from ftsdk.errors import SpecError
from ftsdk.evals.metrics.sums_bootstrap import Array, interval_of_sums
from ftsdk.evals.scorers.scorer import Score
from ftsdk.evals.statistics import wilson_interval

__all__ = ["Agreement", "agreement"]

Weights = Literal["linear", "quadratic"]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Cohen's kappa: 1 is full agreement, 0 what chance would give."""

    kappa: float
    low: float
    """Lower end of the 95% interval."""
    high: float
    share: float
    """Examples with the same verdict."""
    n: int
    missing: int
    """Examples that the judge has no verdict on; they aren't among the `n`."""

    def __str__(self) -> str:
        missing = f"; {self.missing} without a verdict left out" if self.missing else ""
        return (
            f"kappa {self.kappa:.2f} (95% interval {self.low:.2f} to {self.high:.2f}), the same verdict on "
            f"{self.share:.1%} of {self.n}{missing}"
        )

    __rich__ = rich_text


def agreement(
    judge: Sequence[Score | Hashable], human: Sequence[Hashable], *, weights: Weights | None = None
) -> Agreement:
    """Return how far a judge agrees with labels of people on the same examples, as Cohen's kappa.

    Args:
        judge: Verdicts. Of a `Score`, its grade counts, else its label, else its value; one with an error is missing.
        human: What people said about the same examples, in the same values.
        weights: Count near misses of grades as smaller disagreements: by the distance, or its square. The verdicts
            must be numbers then.

    Raises:
        SpecError: Lists of different lengths, no verdicts, or weights for verdicts that aren't numbers.

    Source: Cohen, Educational and Psychological Measurement 20 (1960) 37-46; Psychological Bulletin 70 (1968) 213-220.
        The interval is the percentile bootstrap.
    """
    if len(judge) != len(human):
        raise SpecError(f"agreement needs a label for each verdict; got {len(judge)} verdicts and {len(human)} labels")
    is_missing = [isinstance(one, Score) and one.error is not None for one in judge]
    pairs = [
        (_category(one), _category(other))
        for one, other, skip in zip(judge, human, is_missing, strict=True)
        if not skip
    ]
    if not pairs:
        raise SpecError("agreement needs at least one verdict")
    categories = _sorted({one for pair in pairs for one in pair}, weights)
    number = {category: position for position, category in enumerate(categories)}
    size = len(categories)
    cell_of = np.array([number[one] * size + number[other] for one, other in pairs])
    disagreement = _disagreement(categories, weights)

    def kappa(counts: Array) -> Array:
        table = counts.reshape(-1, size, size) / counts.sum(axis=1)[:, None, None]
        expected = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None, :]
        by_chance = (expected * disagreement).sum(axis=(1, 2))
        found = (table * disagreement).sum(axis=(1, 2))
        # Where all verdicts are one and the same, chance alone agrees fully; scikit-learn has no number for it.
        return np.where(
            by_chance > 0, 1 - np.divide(found, by_chance, out=np.zeros_like(found), where=by_chance > 0), 1.0
        )

    counts = np.bincount(cell_of, minlength=size * size)
    value = float(kappa(counts[None, :].astype(np.float64))[0])
    used, row_of = np.unique(cell_of, return_inverse=True)
    interval = interval_of_sums(np.eye(size * size)[used], row_of, kappa)
    low, high = interval.low, interval.high
    same = sum(one == other for one, other in pairs)
    if same == len(pairs):
        # No resample differs: take the share that may agree, by Wilson, as the lower end.
        low = min(low, 2 * wilson_interval(same, len(pairs))[0] - 1)
    elif low == high:  # one pair of verdicts, again and again, shows nothing
        low, high = -1.0, 1.0
    return Agreement(kappa=value, low=low, high=high, share=same / len(pairs), n=len(pairs), missing=sum(is_missing))


def _category(verdict: Score | Hashable) -> Hashable:
    if not isinstance(verdict, Score):
        return verdict
    if "grade" in verdict.parts:
        return verdict.parts["grade"]
    return verdict.value if verdict.label is None else verdict.label


def _sorted(found: set[Hashable], weights: Weights | None) -> list[Any]:
    if weights is None:
        return sorted(found, key=repr)
    if not all(isinstance(one, int | float) for one in found):
        raise SpecError(f"weights={weights!r} needs verdicts that are numbers; got {sorted(map(repr, found))[:5]}")
    return sorted(found, key=lambda one: float(one))  # pyright: ignore[reportArgumentType]


def _disagreement(categories: Sequence[Any], weights: Weights | None) -> Array:
    if weights is None:
        return 1.0 - np.eye(len(categories))
    values = np.array(categories, dtype=np.float64)
    distance = np.abs(values[:, None] - values[None, :])
    return distance if weights == "linear" else distance**2
