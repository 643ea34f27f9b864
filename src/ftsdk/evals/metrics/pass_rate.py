"""`pass_rate`: the share of scores that reach a threshold, with the intervals of a share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import overload

from ftsdk.evals.scorers.scorer import Score
from ftsdk.evals.statistics import Groups, Interval, mean_interval, paired_mean_interval
from ftsdk.spec.amounts import check_amount

__all__ = ["PassRate", "pass_rate"]


@dataclass(frozen=True, kw_only=True)
class PassRate:
    """The share of scores that are at least `threshold`; see `pass_rate`."""

    threshold: float = 1.0

    def __post_init__(self) -> None:
        check_amount("threshold", self.threshold)

    @property
    def name(self) -> str:
        """As in job files: `pass_rate(threshold=0.7)`."""
        return "pass_rate" if self.threshold == 1 else f"pass_rate(threshold={self.threshold!r})"

    @property
    def is_bounded(self) -> bool:
        """It is a share."""
        return True

    @property
    def is_lower_better(self) -> None:
        """As the values of the scores."""
        return

    @overload
    def __call__(self, scores: Sequence[Score], /) -> float: ...

    @overload
    def __call__(self, /, *, threshold: float) -> PassRate: ...

    def __call__(self, scores: Sequence[Score] | None = None, /, *, threshold: float | None = None) -> float | PassRate:
        """Return the share; or, of a threshold, the metric with that one."""
        if scores is None:
            return self.with_options(threshold=1.0 if threshold is None else threshold)
        return fmean(self._passed(scores))

    def with_options(self, *, threshold: float) -> PassRate:
        """Return the metric with another threshold.

        Raises:
            SpecError: It isn't a finite number.
        """
        return PassRate(threshold=threshold)

    def interval(
        self, scores: Sequence[Score], *, is_bounded: bool, groups: Groups = None, confidence: float = 0.95
    ) -> Interval:
        """Return the interval of the share."""
        del is_bounded
        return mean_interval(self._passed(scores), is_bounded=True, groups=groups, confidence=confidence)

    def difference(
        self,
        first: Sequence[Score],
        second: Sequence[Score],
        *,
        is_bounded: bool,
        groups: Groups = None,
        confidence: float = 0.95,
    ) -> Interval:
        """Return the interval of the second share minus the first, on the same examples."""
        del is_bounded
        return paired_mean_interval(
            self._passed(first), self._passed(second), is_bounded=True, groups=groups, confidence=confidence
        )

    def _passed(self, scores: Sequence[Score]) -> list[float]:
        return [float(score.value >= self.threshold) for score in scores]


pass_rate = PassRate()
"""The share of scores that are at least a threshold, 1 if none is given: `pass_rate(threshold=0.7)`."""
