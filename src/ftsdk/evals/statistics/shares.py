"""Intervals of shares and of paired differences of shares."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

from ftsdk._wilson import wilson
from ftsdk.errors import SpecError
from ftsdk.evals.statistics.interval import check_confidence
from ftsdk.spec.amounts import check_amount

__all__ = ["newcombe", "paired_difference_interval", "tango", "wilson_interval"]


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
    return wilson(successes, n, check_confidence(confidence))


def paired_difference_interval(
    both: int,
    only_first: int,
    only_second: int,
    neither: int,
    confidence: float = 0.95,
    *,
    method: Literal["tango", "newcombe"] = "tango",
) -> tuple[float, float]:
    """Return an interval for the second share minus the first, where both were measured on the same examples.

    Args:
        both: Examples that both got right.
        only_first: Examples that only the first got right.
        only_second: Examples that only the second got right.
        neither: Examples that neither got right.
        confidence: The level, between 0 and 1.
        method: `"tango"` inverts the score test; it holds its level where shares are near 0 or 1. `"newcombe"` combines
            two Wilson intervals, and is too wide there.

    Returns:
        The lower and the upper end of the difference of shares, within -1 and 1.

    Raises:
        SpecError: A count is negative, or all are 0, or `confidence` is out of range.

    Source: Tango, Statistics in Medicine 17 (1998) 891-908; Newcombe, Statistics in Medicine 17 (1998) 2635-2650,
    method 10 (Wilson limits combined with a corrected correlation); compared by Fagerland, Lydersen and Laake,
    Statistics in Medicine 33 (2014) 2850-2875.
    """
    counts = {"both": both, "only_first": only_first, "only_second": only_second, "neither": neither}
    for name, count in counts.items():
        check_amount(f"counts: {name}", count, at_least=0, is_whole=True)
    n = sum(counts.values())
    check_amount("the sum of the counts", n, at_least=1)
    if method == "tango":
        z = NormalDist().inv_cdf((1 + check_confidence(confidence)) / 2)
        return tango(only_first, only_second, n, z)
    if method != "newcombe":
        raise SpecError(f"method must be 'tango' or 'newcombe'; got {method!r}")
    right_first, right_second = both + only_first, both + only_second
    margins = right_first * (n - right_first) * right_second * (n - right_second)
    surplus = both * neither - only_first * only_second
    if surplus > 0:
        surplus = max(surplus - n / 2, 0)
    phi = surplus / math.sqrt(margins) if margins else 0.0
    return newcombe(right_first, right_second, n, phi, confidence)


def tango(only_first: float, only_second: float, n: float, z: float) -> tuple[float, float]:
    """Return Tango's interval of the second share minus the first; counts need not be whole.

    Args:
        only_first: Examples that only the first got right.
        only_second: Examples that only the second got right.
        n: All examples.
        z: The quantile of the normal distribution, or of t.
    """
    return -_tango_end(only_second, only_first, n, z), _tango_end(only_first, only_second, n, z)


def _tango_end(only_first: float, only_second: float, n: float, z: float) -> float:
    """Return the upper end: the largest difference that the score test doesn't reject."""
    observed = (only_second - only_first) / n

    def is_rejected(difference: float) -> bool:
        linear = (2 * n - only_second + only_first) * difference - only_second - only_first
        constant = -only_first * difference * (1 - difference)
        share = (math.sqrt(max(linear**2 - 8 * n * constant, 0.0)) - linear) / (4 * n)
        variance = max(n * (2 * share + difference * (1 - difference)), 0.0)
        return n * (difference - observed) > z * math.sqrt(variance)

    low, high = observed, 1.0
    if not is_rejected(high):
        return high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if is_rejected(middle) else (middle, high)
    return low


def newcombe(total_1: float, total_2: float, n: int, phi: float, confidence: float) -> tuple[float, float]:
    """Return Newcombe's interval of the second share minus the first; totals need not be whole.

    Args:
        total_1: How many the first got right.
        total_2: How many the second got right.
        n: All examples.
        phi: The correlation of the two.
        confidence: The level, between 0 and 1.
    """
    first, second = total_1 / n, total_2 / n
    low_1, high_1 = wilson(total_1, n, check_confidence(confidence))
    low_2, high_2 = wilson(total_2, n, confidence)

    def length(toward: float, against: float) -> float:
        return math.sqrt(max(toward**2 - 2 * phi * toward * against + against**2, 0.0))

    difference = second - first
    low = difference - length(second - low_2, high_1 - first)
    high = difference + length(high_2 - second, first - low_1)
    return max(low, -1.0), min(high, 1.0)
