"""`accuracy`: the share of right answers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ftsdk.evals.metrics.metric import metric
from ftsdk.evals.scorers.scorer import Score
from ftsdk.evals.statistics import Groups, Interval, mcnemar, mean_interval, paired_mean_interval, paired_t

__all__ = ["accuracy"]


def _right(scores: Sequence[Score]) -> list[float]:
    return [
        float(score.value == 1 if score.expected_label is None else score.label == score.expected_label)
        for score in scores
    ]


def _interval(scores: Sequence[Score], /, *, is_bounded: bool, groups: Groups, confidence: float) -> Interval:
    del is_bounded
    return mean_interval(_right(scores), is_bounded=True, groups=groups, confidence=confidence)


def _difference(
    first: Sequence[Score], second: Sequence[Score], /, *, is_bounded: bool, groups: Groups, confidence: float
) -> Interval:
    del is_bounded
    return paired_mean_interval(_right(first), _right(second), is_bounded=True, groups=groups, confidence=confidence)


def _p_value(first: Sequence[Score], second: Sequence[Score], /, *, groups: Groups) -> float:
    one, other = _right(first), _right(second)
    if groups is not None:
        return paired_t(one, other, groups=groups)
    pairs = list(zip(one, other, strict=True))
    return mcnemar(pairs.count((1.0, 0.0)), pairs.count((0.0, 1.0)))


@metric(is_bounded=True, is_lower_better=False, interval=_interval, difference=_difference, p_value=_p_value)
def accuracy(scores: Sequence[Score]) -> float:
    """Return the share of answers that name the class of the reference; without classes, of scores that are 1."""
    return fmean(_right(scores))
