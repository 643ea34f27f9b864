"""Intervals of means and of paired differences of means. Pure Python: scipy takes 0.7 s to import."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist, fmean, stdev
from typing import Literal, NamedTuple

from ftsdk._wilson import wilson
from ftsdk.errors import SpecError
from ftsdk.spec.amounts import check_amount

__all__ = [
    "Groups",
    "Interval",
    "bootstrap_interval",
    "is_binary",
    "mean_interval",
    "paired_bootstrap_interval",
    "paired_difference_interval",
    "paired_mean_interval",
    "t_quantile",
    "wilson_interval",
]

IntervalMethod = Literal["wilson", "newcombe", "t", "bootstrap"]
Groups = Sequence[Hashable] | None
"""The group of each example; examples of one group are alike, such as the mails of one customer. None: no groups."""
_RESAMPLES = 2000


class Interval(NamedTuple):
    """A confidence interval and how it was computed."""

    low: float
    high: float
    method: IntervalMethod


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a share.

    Unlike `p ± 1.96 * sqrt(p(1-p)/n)` it stays within 0 and 1 and has the right coverage for small `n` and for shares
    near 0 or 1.

    Args:
        successes: How many of the `n`, from 0 to `n`.
        n: How many were tried, at least 1.
        confidence: The level, between 0 and 1.

    Returns:
        The lower and the upper end, as shares.

    Raises:
        SpecError: An argument isn't a number in its range.

    Source: E. B. Wilson, JASA 22 (1927) 209-212; Newcombe, Statistics in Medicine 17 (1998) 857-872, method 3.
    """
    check_amount("n", n, at_least=1, is_whole=True)
    check_amount("successes", successes, at_least=0, at_most=n, is_whole=True)
    return _wilson(successes, n, confidence)


def _wilson(total: float, n: int, confidence: float) -> tuple[float, float]:
    """Return the Wilson interval; a total of values between 0 and 1 need not be whole."""
    return wilson(total, n, _checked(confidence))


def paired_difference_interval(
    both: int, only_first: int, only_second: int, neither: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return an interval for the second share minus the first, where both were measured on the same examples.

    Args:
        both: Examples that both got right.
        only_first: Examples that only the first got right.
        only_second: Examples that only the second got right.
        neither: Examples that neither got right.
        confidence: The level, between 0 and 1.

    Returns:
        The lower and the upper end of the difference of shares, within -1 and 1.

    Raises:
        SpecError: A count is negative, or all are 0, or `confidence` is out of range.

    Source: Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10 (Wilson limits combined with a corrected
    correlation).
    """
    counts = {"both": both, "only_first": only_first, "only_second": only_second, "neither": neither}
    for name, count in counts.items():
        check_amount(f"counts: {name}", count, at_least=0, is_whole=True)
    n = sum(counts.values())
    check_amount("the sum of the counts", n, at_least=1)
    right_first, right_second = both + only_first, both + only_second
    margins = right_first * (n - right_first) * right_second * (n - right_second)
    surplus = both * neither - only_first * only_second
    if surplus > 0:
        surplus = max(surplus - n / 2, 0)
    phi = surplus / math.sqrt(margins) if margins else 0.0
    return _difference_of_shares(right_first, right_second, n, phi, confidence)


def _difference_of_shares(total_1: float, total_2: float, n: int, phi: float, confidence: float) -> tuple[float, float]:
    first, second = total_1 / n, total_2 / n
    low_1, high_1 = _wilson(total_1, n, confidence)
    low_2, high_2 = _wilson(total_2, n, confidence)

    def length(toward: float, against: float) -> float:
        return math.sqrt(max(toward**2 - 2 * phi * toward * against + against**2, 0.0))

    difference = second - first
    low = difference - length(second - low_2, high_1 - first)
    high = difference + length(high_2 - second, first - low_1)
    return max(low, -1.0), min(high, 1.0)


def is_binary(values: Sequence[float]) -> bool:
    """Return whether every value is 0 or 1."""
    return all(value in (0.0, 1.0) for value in values)


def mean_interval(
    values: Sequence[float], *, is_bounded: bool, groups: Groups = None, confidence: float = 0.95
) -> Interval:
    """Return an interval of the mean: Wilson's for values that are all 0 or 1, else Student's t.

    Values between 0 and 1 that are all equal, or a single one, get Wilson's too: no values within these bounds vary
    more than 0 and 1 with the same mean do, so it errs on the wide side where t would have no width, or no end.

    Args:
        values: At least one.
        is_bounded: The values lie between 0 and 1, and so must the interval.
        groups: The group of each value.
        confidence: The level, between 0 and 1.

    Raises:
        ValueError: No values, or `confidence` is out of range.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    if groups is not None:
        return bootstrap_interval(
            len(values), lambda drawn: fmean(values[n] for n in drawn), groups=groups, confidence=confidence
        )
    mean, spread = fmean(values), _standard_error(values)
    if is_bounded and (is_binary(values) or not 0 < spread < math.inf):
        return Interval(*_wilson(math.fsum(values), len(values), confidence), "wilson")
    half = _half_width(spread, len(values), confidence)
    low, high = mean - half, mean + half
    return Interval(max(low, 0.0), min(high, 1.0), "t") if is_bounded else Interval(low, high, "t")


def paired_mean_interval(
    first: Sequence[float],
    second: Sequence[float],
    *,
    is_bounded: bool,
    groups: Groups = None,
    confidence: float = 0.95,
) -> Interval:
    """Return an interval of the mean of the second minus the first, measured on the same examples.

    Newcombe's method 10 where all values are 0 or 1, else Student's t of the differences. Where t has no width or no
    end, values between 0 and 1 get Newcombe's without correlation, which errs on the wide side.

    Args:
        first: One value for each example, at least one.
        second: The same examples, in the same order.
        is_bounded: The values lie between 0 and 1.
        groups: The group of each example.
        confidence: The level, between 0 and 1.

    Raises:
        ValueError: No values, lists of different lengths, or `confidence` is out of range.
    """
    if not first:
        raise ValueError("an interval needs at least one value")
    differences = [other - one for one, other in zip(first, second, strict=True)]
    if groups is not None:
        return bootstrap_interval(
            len(differences), lambda drawn: fmean(differences[n] for n in drawn), groups=groups, confidence=confidence
        )
    if is_bounded and is_binary([*first, *second]):
        pairs = list(zip(first, second, strict=True))
        counts = (pairs.count((1, 1)), pairs.count((1, 0)), pairs.count((0, 1)), pairs.count((0, 0)))
        return Interval(*paired_difference_interval(*counts, confidence), "newcombe")
    spread = _standard_error(differences)
    if is_bounded and not 0 < spread < math.inf:
        totals = math.fsum(first), math.fsum(second)
        return Interval(*_difference_of_shares(*totals, len(first), 0.0, confidence), "newcombe")
    mean, half = fmean(differences), _half_width(spread, len(differences), confidence)
    low, high = mean - half, mean + half
    return Interval(max(low, -1.0), min(high, 1.0), "t") if is_bounded else Interval(low, high, "t")


def bootstrap_interval(
    n: int,
    statistic: Callable[[Sequence[int]], float],
    *,
    groups: Groups = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of any statistic.

    Args:
        n: How many examples there are, at least 1.
        statistic: Its value for a resample, given as positions of examples.
        groups: The group of each example; groups are drawn whole.
        confidence: The level, between 0 and 1.
        seed: The same seed gives the same interval.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3; 2,000 resamples.
    """
    tail = (1 - _checked(confidence)) / 2
    chance = random.Random(seed)
    clusters = _clusters(n, groups)
    found = sorted(
        statistic([index for cluster in chance.choices(clusters, k=len(clusters)) for index in cluster])
        for _ in range(_RESAMPLES)
    )
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
    """Return the percentile bootstrap interval of the second statistic minus the first, on the same resamples."""
    return bootstrap_interval(
        n, lambda drawn: second(drawn) - first(drawn), groups=groups, confidence=confidence, seed=seed
    )


def _clusters(n: int, groups: Groups) -> list[list[int]]:
    """Return the positions of each group."""
    if groups is None:
        return [[index] for index in range(n)]
    found: dict[Hashable, list[int]] = {}
    for index, group in zip(range(n), groups, strict=True):
        found.setdefault(group, []).append(index)
    return list(found.values())


def t_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution.

    Args:
        probability: Above 0.5 and below 1.
        degrees: Degrees of freedom, at least 1.

    Raises:
        SpecError: An argument isn't a number in its range.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4 (exact), inverted by
    bisection; above 500 degrees of freedom the expansion 26.7.5, whose error is below 1e-6 there.
    """
    if not 0.5 < probability < 1 or degrees < 1:
        raise ValueError(
            f"probability must lie between 0.5 and 1, and degrees must be at least 1; got {probability}, {degrees}"
        )
    if degrees > 500:
        z = NormalDist().inv_cdf(probability)
        return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_mass(middle, degrees) < 2 * probability - 1 else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _t_mass(angle: float, degrees: int) -> float:
    """Return the probability of `|t| < sqrt(degrees) * tan(angle)`."""
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2 == 1
    total, term = 0.0, cosine if is_odd else 1.0
    for k in range(1 if is_odd else 0, degrees - 1, 2):
        total += term
        term *= cosine * cosine * (k + 1) / (k + 2)
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total


def _standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean; infinite for a single value."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf


def _half_width(standard_error: float, n: int, confidence: float) -> float:
    return t_quantile((1 + _checked(confidence)) / 2, n - 1) * standard_error if n > 1 else math.inf


def _checked(confidence: float) -> float:
    check_amount("confidence", confidence, above=0, at_most=1)
    if confidence == 1:
        raise SpecError(f"confidence must be below 1, such as 0.95; got {confidence}")
    return confidence
