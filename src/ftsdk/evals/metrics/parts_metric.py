"""Metrics that are a function of summed parts of scores: the counts of n-grams, or log-probabilities and tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ftsdk.errors import SpecError
from ftsdk.evals.metrics.sums_bootstrap import Array, SumStatistic, interval_of_sums
from ftsdk.evals.metrics.sums_swaps import p_value_of_sums
from ftsdk.evals.scorers.scorer import Score
from ftsdk.evals.statistics import Groups, Interval

__all__ = ["PartsMetric"]


class PartsMetric:
    """The value of such a metric, and its intervals, for `@metric(interval=..., difference=...)`."""

    def __init__(self, name: str, parts: Sequence[str], statistic: SumStatistic, *, scorers: str) -> None:
        """Describe the metric.

        Args:
            name: The metric, for messages.
            parts: The names of the parts; the features of `statistic`, in this order.
            statistic: The metric, as a function of their sums.
            scorers: The scorers that have these parts, for messages.
        """
        self._name = name
        self._parts = tuple(parts)
        self._statistic = statistic
        self._scorers = scorers

    def value(self, scores: Sequence[Score]) -> float:
        """Return the metric.

        Raises:
            SpecError: A score doesn't have the parts.
        """
        return float(self._statistic(self._rows(scores).sum(axis=0, keepdims=True))[0])

    def interval(self, scores: Sequence[Score], /, *, is_bounded: bool, groups: Groups, confidence: float) -> Interval:
        """Return its bootstrap interval; without ends for a single example, or a single group."""
        del is_bounded
        if _units(scores, groups) < 2:
            return Interval(-math.inf, math.inf, "bootstrap")
        rows = self._rows(scores)
        return interval_of_sums(rows, np.arange(len(rows)), self._statistic, groups=groups, confidence=confidence)

    def difference(
        self,
        first: Sequence[Score],
        second: Sequence[Score],
        /,
        *,
        is_bounded: bool,
        groups: Groups,
        confidence: float,
    ) -> Interval:
        """Return the bootstrap interval of the second minus the first, on the same resamples."""
        del is_bounded
        if _units(first, groups) < 2:
            return Interval(-math.inf, math.inf, "bootstrap")
        rows = np.hstack([self._rows(first), self._rows(second)])
        width = len(self._parts)

        def statistic(sums: Array) -> Array:
            return self._statistic(sums[:, width:]) - self._statistic(sums[:, :width])

        return interval_of_sums(rows, np.arange(len(rows)), statistic, groups=groups, confidence=confidence)

    def p_value(self, first: Sequence[Score], second: Sequence[Score], /, *, groups: Groups) -> float:
        """Return the p-value of the difference; see `p_value_of_sums`."""
        rows = self._rows(first), self._rows(second)
        return p_value_of_sums(*rows, np.arange(len(first)), self._statistic, groups=groups)

    def _rows(self, scores: Sequence[Score]) -> Array:
        try:
            return np.array([[score.parts[name] for name in self._parts] for score in scores], dtype=np.float64)
        except KeyError as error:
            raise SpecError(
                f"the metric {self._name!r} sums up the part {error.args[0]!r} of each score, which {self._scorers} has"
            ) from error


def _units(scores: Sequence[Score], groups: Groups) -> int:
    return len(scores) if groups is None else len(set(groups))
