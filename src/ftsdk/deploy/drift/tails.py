"""Upper tails of the chi-squared distribution and of weighted sums of it, down to tiny probabilities, without scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["chi_square_above", "weighted_chi_square_above"]


def chi_square_above(value: float, degrees: int) -> float:
    """Return the probability that a chi-squared variable is at least `value`.

    Args:
        value: The statistic.
        degrees: Degrees of freedom, at least 1.

    Source: the regularised incomplete gamma function, Abramowitz and Stegun 6.5.29 and 6.5.31.
    """
    a, x = degrees / 2, value / 2
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        k = a
        while term > total * 1e-16:
            k += 1
            term *= x / k
            total += term
        return max(0.0, 1 - front * total)
    # Lentz's method for the continued fraction.
    b = x + 1 - a
    c, d = 1e300, 1 / b
    found = d
    for i in range(1, 10_000):
        numerator = -i * (i - a)
        b += 2
        d = 1 / _not_zero(numerator * d + b)
        c = _not_zero(b + numerator / c)
        found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * found


def weighted_chi_square_above(value: float, weights: Sequence[float]) -> float:
    """Return the probability that a sum of chi-squared variables, each times its weight, is at least `value`.

    A saddlepoint approximation, within a few per cent in the tail; 1 below the mean of the sum, where nobody looks.

    Args:
        value: The statistic.
        weights: One for each variable with one degree of freedom; those that aren't above 0 are left out.

    Source: Kuonen, Biometrika 86 (1999) 929-935.
    """
    import numpy as np

    used = np.asarray([weight for weight in weights if weight > 0])
    if not len(used) or value <= used.sum():
        return 1.0
    low, high = 0.0, 1 / (2 * used.max())
    for _ in range(200):
        middle = (low + high) / 2
        too_low = (used / (1 - 2 * middle * used)).sum() < value
        low, high = (middle, high) if too_low else (low, middle)
    zeta = low
    scaled = 1 - 2 * zeta * used
    w = math.sqrt(max(2 * (zeta * value + 0.5 * float(np.log(scaled).sum())), 0.0))
    v = zeta * math.sqrt(2 * float(((used / scaled) ** 2).sum()))
    if w < 1e-4 or v <= 0:
        return 0.5
    return min(1.0, 0.5 * math.erfc((w + math.log(v / w) / w) / math.sqrt(2)))


def _not_zero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300
