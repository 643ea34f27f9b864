"""Bootstrap intervals, for metrics that aren't means."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from statistics import NormalDist

from ftsdk.errors import SpecError
from ftsdk.evals.statistics.clusters import Groups, positions_by_group
from ftsdk.evals.statistics.distributions import t_quantile
from ftsdk.evals.statistics.interval import Interval, check_confidence

__all__ = ["bootstrap_interval", "paired_bootstrap_interval"]

_RESAMPLES = 2000


def bootstrap_interval(
    n: int,
    statistic: Callable[[Sequence[int]], float],
    *,
    groups: Groups = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the expanded percentile bootstrap interval of any statistic.

    Args:
        n: How many examples there are, at least 1.
        statistic: Its value for a resample, given as positions of examples.
        groups: The group of each example; groups are drawn whole. A single group, or a single example, shows nothing:
            the interval has no end.
        confidence: The level, between 0 and 1.
        seed: The same seed gives the same interval.

    Raises:
        SpecError: The statistic of a resample isn't a finite number, or `confidence` is out of range.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3; expanded for few groups as in
    Hesterberg, The American Statistician 69 (2015) 371-386, section 5.3; 2,000 resamples.
    """
    check_confidence(confidence)
    clusters = positions_by_group(n, groups)
    if len(clusters) < 2:
        return Interval(-math.inf, math.inf, "bootstrap")
    # Percentiles are too narrow by the sqrt((n - 1) / n) of the plug-in variance, and by z in place of t.
    wide = math.sqrt(len(clusters) / (len(clusters) - 1)) * t_quantile((1 + confidence) / 2, len(clusters) - 1)
    tail = NormalDist().cdf(-wide)
    chance = random.Random(seed)
    found = sorted(
        statistic([index for cluster in chance.choices(clusters, k=len(clusters)) for index in cluster])
        for _ in range(_RESAMPLES)
    )
    if not all(map(math.isfinite, found)):
        raise SpecError("the statistic must be a finite number for every resample; it isn't for some")
    last = _RESAMPLES - 1
    return Interval(found[math.floor(tail * last)], found[math.ceil((1 - tail) * last)], "bootstrap")


def paired_bootstrap_interval(
    n: int,
    first: Callable[[Sequence[int]], float],
    second: Callable[[Sequence[int]], float],
    *,
    groups: Groups = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the expanded percentile bootstrap interval of the second statistic minus the first, on the same resamples.

    Args:
        n: How many examples there are, at least 1.
        first: The first statistic of a resample.
        second: The second.
        groups: The group of each example.
        confidence: The level, between 0 and 1.
        seed: The same seed gives the same interval.
    """
    return bootstrap_interval(
        n, lambda drawn: second(drawn) - first(drawn), groups=groups, confidence=confidence, seed=seed
    )
