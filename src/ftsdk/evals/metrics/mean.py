"""`mean`: the average score; of scores that are 0 or 1, the share of right answers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ftsdk.evals.metrics.metric import metric
from ftsdk.evals.scorers.scorer import Score
from ftsdk.evals.statistics import Groups, Interval, mean_interval, paired_mean_interval

__all__ = ["mean"]


def _interval(scores: Sequence[Score], *, is_bounded: bool, groups: Groups, confidence: float) -> Interval:
    return mean_interval([score.value for score in scores], is_bounded=is_bounded, groups=groups, confidence=confidence)


def _difference(
    first: Sequence[Score], second: Sequence[Score], *, is_bounded: bool, groups: Groups, confidence: float
) -> Interval:
    return paired_mean_interval(
        [score.value for score in first],
        [score.value for score in second],
        is_bounded=is_bounded,
        groups=groups,
        confidence=confidence,
    )


@metric(interval=_interval, difference=_difference)
def mean(scores: Sequence[Score]) -> float:
    """Return the average."""
    return fmean(score.value for score in scores)
