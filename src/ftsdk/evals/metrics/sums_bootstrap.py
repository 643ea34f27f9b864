"""Bootstrap intervals of metrics that are functions of sums over examples, such as counts: all resamples at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ftsdk.evals.statistics import Groups, Interval

__all__ = ["Array", "SumStatistic", "interval_of_sums", "units_of"]

Array = npt.NDArray[Any]
SumStatistic = Callable[[Array], Array]
"""Takes sums of shape (R resamples, D features), and returns R values."""

_RESAMPLES = 2000
_MOST_CELLS = 4_000_000
"""Numbers that one batch of resamples holds."""


def interval_of_sums(
    rows_UD: Array,  # noqa: N803 - shapes
    row_of_N: Array,  # noqa: N803
    statistic: SumStatistic,
    *,
    groups: Groups = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of a function of sums.

    How often each distinct row comes up in a resample is multinomial, so that the time depends on the number of
    distinct rows and hardly on that of examples.

    Args:
        rows_UD: The distinct rows of features, shape (U rows, D features).
        row_of_N: The row of each of N examples, at least one.
        statistic: The metric, as a function of the sums of features.
        groups: The group of each example; groups are drawn whole.
        confidence: The level, between 0 and 1.
        seed: The same seed gives the same interval.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3; 2,000 resamples.
    """
    rows, counts = units_of(rows_UD, row_of_N, groups)
    drawn = int(counts.sum())
    generator = np.random.default_rng(seed)
    batch = max(1, min(_RESAMPLES, _MOST_CELLS // max(rows.shape)))
    found: list[Array] = []
    for start in range(0, _RESAMPLES, batch):
        size = min(batch, _RESAMPLES - start)
        times = generator.multinomial(drawn, counts / drawn, size=size)
        found.append(statistic(times.astype(np.float64) @ rows))
    values = np.sort(np.concatenate(found))
    tail, last = (1 - confidence) / 2, _RESAMPLES - 1
    return Interval(float(values[math.floor(tail * last)]), float(values[math.ceil((1 - tail) * last)]), "bootstrap")


def units_of(rows_UD: Array, row_of_N: Array, groups: Groups) -> tuple[Array, Array]:  # noqa: N803
    """Return the features of what is drawn, and how many there are of each."""
    rows = rows_UD.astype(np.float64)
    if groups is None:
        return rows, np.bincount(row_of_N, minlength=len(rows))
    number: dict[Any, int] = {}
    group_of = np.array([number.setdefault(group, len(number)) for group in groups])
    sums = np.zeros((len(number), rows.shape[1]))
    np.add.at(sums, group_of, rows[row_of_N])
    return sums, cast("Array", np.ones(len(sums), dtype=np.int64))
