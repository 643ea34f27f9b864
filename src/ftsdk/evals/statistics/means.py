"""Intervals of means and of paired differences of means, with or without groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from ftsdk._wilson import wilson
from ftsdk.errors import SpecError
from ftsdk.evals.statistics.clusters import ClusteredMean, Groups, clustered_mean
from ftsdk.evals.statistics.distributions import t_quantile
from ftsdk.evals.statistics.interval import Interval, check_confidence, check_values
from ftsdk.evals.statistics.shares import newcombe, tango

__all__ = ["is_binary", "mean_interval", "paired_mean_interval"]

_NEGLIGIBLE = 1e-12
"""Standard errors below this are rounding."""
_LEAST_FOR_SKEWNESS = 8
"""Values or groups from which on their skewness can be seen."""


def is_binary(values: Sequence[float]) -> bool:
    """Return whether every value is 0 or 1."""
    return all(value in (0.0, 1.0) for value in values)


def mean_interval(
    values: Sequence[float], *, is_bounded: bool, groups: Groups = None, confidence: float = 0.95
) -> Interval:
    """Return an interval of the mean: Wilson's for values that are all 0 or 1, else Student's t.

    The interval by t is widened to that of t corrected for skewness, and for values between 0 and 1 has Wilson's shape:
    plain t holds a mean of skewed values, such as scores that are mostly 1, too seldom. Groups replace the standard
    error and its degrees of freedom. Where values or groups don't vary, values between 0 and 1 get Wilson's interval of
    as many examples as there are groups: no values within these bounds vary more, so it errs on the wide side. A single
    group shows nothing: its interval has no end, or is 0 to 1.

    Args:
        values: At least one.
        is_bounded: The values lie between 0 and 1, and so must the interval.
        groups: The group of each value.
        confidence: The level, between 0 and 1.

    Raises:
        SpecError: No values, one that isn't finite, not one group for each value, or `confidence` is out of range.

    Source: Wilson, JASA 22 (1927) 209-212; effective sample size as in Korn and Graubard, Survey Methodology 24 (1998)
    193-201; Hall, JRSS B 54 (1992) 221-228 for skewness; `clustered_mean` for groups.
    """
    check_confidence(confidence)
    check_values(values, is_bounded=is_bounded)
    if groups is None and is_bounded and is_binary(values):
        return Interval(*wilson(math.fsum(values), len(values), confidence), "wilson")
    found = clustered_mean(values, groups)
    method = "t" if groups is None else "clustered"
    if found.clusters < 2 and groups is not None:
        return Interval(0.0, 1.0, method) if is_bounded else Interval(-math.inf, math.inf, method)
    if is_bounded and not _NEGLIGIBLE < found.standard_error < math.inf:
        low, high = wilson(found.mean * found.clusters, found.clusters, confidence)
        return Interval(low, high, "wilson" if groups is None else method)
    if math.isinf(found.standard_error):
        return Interval(-math.inf, math.inf, method)
    quantile = t_quantile((1 + confidence) / 2, found.degrees)
    if is_bounded:
        low, high = _hull(_skewed_t(found, quantile), _wilson_shaped(found, quantile))
        return Interval(max(low, 0.0), min(high, 1.0), method)
    return Interval(*_plain_or_skewed_t(found, quantile), method)


def paired_mean_interval(
    first: Sequence[float],
    second: Sequence[float],
    *,
    is_bounded: bool,
    groups: Groups = None,
    confidence: float = 0.95,
) -> Interval:
    """Return an interval of the mean of the second minus the first, measured on the same examples.

    Tango's where all values are 0 or 1, else Student's t of the differences, widened to that of t corrected for
    skewness. With groups, Tango's takes the effective number of examples. Where t has no width or no end, values
    between 0 and 1 get Newcombe's without correlation, which errs on the wide side. A single group shows nothing: its
    interval has no end, or is -1 to 1.

    Args:
        first: One value for each example, at least one.
        second: The same examples, in the same order.
        is_bounded: The values lie between 0 and 1.
        groups: The group of each example.
        confidence: The level, between 0 and 1.

    Raises:
        SpecError: No values, one that isn't finite, lists of different lengths, or `confidence` is out of range.

    Source: Tango, Statistics in Medicine 17 (1998) 891-908; Hall, JRSS B 54 (1992) 221-228; Miller, "Adding Error Bars
    to Evals" (2024), section 4.2; `clustered_mean` for groups.
    """
    check_confidence(confidence)
    check_values(first, is_bounded=is_bounded)
    if len(first) != len(second):
        raise SpecError(f"paired values must be of the same examples; got {len(first)} and {len(second)}")
    check_values(second, is_bounded=is_bounded)
    differences = [other - one for one, other in zip(first, second, strict=True)]
    are_shares = is_bounded and is_binary([*first, *second])
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    n, only_second, only_first = len(first), differences.count(1), differences.count(-1)
    if are_shares and groups is None:
        return Interval(*tango(only_first, only_second, n, z), "tango")
    found = clustered_mean(differences, groups)
    method = "t" if groups is None else "clustered"
    if found.clusters < 2 and groups is not None:
        return Interval(-1.0, 1.0, method) if is_bounded else Interval(-math.inf, math.inf, method)
    is_usual = _NEGLIGIBLE < found.standard_error < math.inf
    if are_shares:
        # As many independent examples as would have the standard error of the groups; one for each if that is unknown.
        variance = (only_first + only_second - (only_second - only_first) ** 2 / n) / n**2
        effective = n * variance / found.standard_error**2 if is_usual and variance > 0 else found.clusters
        quantile = t_quantile((1 + confidence) / 2, found.degrees) if is_usual else z
        scale = effective / n
        return Interval(*tango(only_first * scale, only_second * scale, effective, quantile), method)
    if is_bounded and not is_usual:
        share = math.fsum(first) / n * found.clusters, math.fsum(second) / n * found.clusters
        low, high = newcombe(*share, found.clusters, 0.0, confidence)
        return Interval(low, high, "newcombe" if groups is None else method)
    if math.isinf(found.standard_error):
        return Interval(-math.inf, math.inf, method)
    low, high = _plain_or_skewed_t(found, t_quantile((1 + confidence) / 2, found.degrees))
    return Interval(max(low, -1.0), min(high, 1.0), method) if is_bounded else Interval(low, high, method)


def _wilson_shaped(found: ClusteredMean, quantile: float) -> tuple[float, float]:
    """Return the means from which the observed one is `quantile` standard errors away.

    The standard error is that of a share with so many examples that it is, at the observed mean, the observed one.
    """
    effective = found.mean * (1 - found.mean) / (found.standard_error * quantile) ** 2
    centre, scale = found.mean + 1 / (2 * effective), 1 + 1 / effective
    half = math.sqrt(found.mean * (1 - found.mean) / effective + 1 / (4 * effective**2))
    return (centre - half) / scale, (centre + half) / scale


def _hull(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    return min(first[0], second[0]), max(first[1], second[1])


def _plain_or_skewed_t(found: ClusteredMean, quantile: float) -> tuple[float, float]:
    """Return the interval by t, widened to that of t corrected for skewness where there are values enough to see it."""
    half = quantile * found.standard_error
    plain = found.mean - half, found.mean + half
    return plain if found.clusters < _LEAST_FOR_SKEWNESS else _hull(plain, _skewed_t(found, quantile))


def _skewed_t(found: ClusteredMean, quantile: float) -> tuple[float, float]:
    """Return the interval by Hall's transformation of t, which removes the skewness of the mean."""
    units, skewness = found.clusters, found.skewness
    spread = found.standard_error * math.sqrt(units)

    def untransformed(y: float) -> float:
        if abs(skewness) < 1e-6:
            return y - skewness / (6 * units)
        return 3 / skewness * (math.cbrt(1 + skewness * (y - skewness / (6 * units))) - 1)

    y = quantile / math.sqrt(units)
    return found.mean - spread * untransformed(y), found.mean - spread * untransformed(-y)
