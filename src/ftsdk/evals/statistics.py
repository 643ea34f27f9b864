"""Intervals for shares and for the difference of two shares measured on the same examples. Pure Python: scipy takes 0.7 s to import."""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["paired_difference_interval", "wilson_interval"]


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give the Wilson score interval of a share.

    Unlike `p ± 1.96 * sqrt(p(1-p)/n)` it stays within 0 and 1 and is honest for small `n` and for shares near 0 or 1.

    Args:
        successes: How many of the `n`, from 0 to `n`.
        n: How many were tried, at least 1.
        confidence: The level, between 0 and 1.

    Returns:
        The lower and the upper end, as shares.

    Raises:
        ValueError: An argument is out of range.

    Source: E. B. Wilson, JASA 22 (1927) 209-212; Newcombe, Statistics in Medicine 17 (1998) 857-872, method 3.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n, and n must be at least 1; got {successes} of {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, for example 0.95; got {confidence}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the edges the interval touches 0 or 1 exactly; floating point would miss it by 1e-17.
    low = 0.0 if successes == 0 else max(0.0, (centre - half) / scale)
    high = 1.0 if successes == n else min(1.0, (centre + half) / scale)
    return low, high


def paired_difference_interval(both: int, only_first: int, only_second: int, neither: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give an interval for the second share minus the first, where both were measured on the same examples.

    Args:
        both: Examples that both got right.
        only_first: Examples that only the first got right.
        only_second: Examples that only the second got right.
        neither: Examples that neither got right.
        confidence: The level, between 0 and 1.

    Returns:
        The lower and the upper end of the difference of shares, within -1 and 1.

    Raises:
        ValueError: A count is negative, or all are 0, or `confidence` is out of range.

    Source: Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10 (Wilson limits combined with a corrected correlation).
    """
    n = both + only_first + only_second + neither
    if n < 1 or min(both, only_first, only_second, neither) < 0:
        raise ValueError("the counts must not be negative, and at least one must be positive")
    right_first, right_second = both + only_first, both + only_second
    first, second = right_first / n, right_second / n
    low_1, high_1 = wilson_interval(right_first, n, confidence)
    low_2, high_2 = wilson_interval(right_second, n, confidence)
    margins = right_first * (n - right_first) * right_second * (n - right_second)
    surplus = both * neither - only_first * only_second
    if surplus > 0:
        surplus = max(surplus - n / 2, 0)
    phi = surplus / math.sqrt(margins) if margins else 0.0

    def length(toward: float, against: float) -> float:
        return math.sqrt(max(toward**2 - 2 * phi * toward * against + against**2, 0.0))

    difference = second - first
    low = difference - length(second - low_2, high_1 - first)
    high = difference + length(high_2 - second, first - low_1)
    return max(low, -1.0), min(high, 1.0)
