"""`mean`: the average score; of scores that are 0 or 1, the share of right answers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ftsdk.evals.metrics.metric import metric
from ftsdk.evals.statistics import mean_interval, paired_mean_interval

__all__ = ["mean"]


@metric(interval=mean_interval, difference=paired_mean_interval)
def mean(values: Sequence[float]) -> float:
    """Return the average."""
    return fmean(values)
