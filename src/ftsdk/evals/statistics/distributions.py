"""Student's t, with fractional degrees of freedom, and the sign test's binomial distribution."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

from ftsdk.errors import SpecError

__all__ = ["binomial_half", "t_quantile", "t_two_sided"]

_LARGE = 1e5
"""Degrees of freedom from which the normal distribution and its first corrections are exact to 1e-12."""
_EXACT_TRIALS = 1000


@functools.lru_cache(maxsize=1024)
def t_quantile(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t distribution.

    Args:
        probability: Above 0.5 and below 1.
        degrees: Degrees of freedom, above 0; need not be whole.

    Raises:
        SpecError: An argument isn't a number in its range.

    Source: inversion of `t_two_sided` by bisection; above 100,000 degrees of freedom the expansion 26.7.5 of Abramowitz
    and Stegun, Handbook of Mathematical Functions.
    """
    if not 0.5 < probability < 1 or not degrees > 0:
        raise SpecError(
            f"probability must lie between 0.5 and 1, and degrees must be above 0; got {probability}, {degrees}"
        )
    if degrees > _LARGE:
        z = NormalDist().inv_cdf(probability)
        return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    # By the angle, as t runs to infinity: t = sqrt(degrees) * tan(angle).
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        tail = t_two_sided(math.sqrt(degrees) * math.tan(middle), degrees)
        low, high = (middle, high) if tail > 2 * (1 - probability) else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def t_two_sided(t: float, degrees: float) -> float:
    """Return the probability that Student's t lies at least as far from 0 as `t`.

    Args:
        t: Any number; may be infinite.
        degrees: Degrees of freedom, above 0; need not be whole.

    Source: the regularised incomplete beta function, Abramowitz and Stegun 26.7.1 and 26.5.8 (continued fraction).
    """
    if math.isinf(t):
        return 0.0
    if degrees > _LARGE:
        # The inverse of 26.7.5 to first order: 26.7.8.
        z = abs(t) * (1 - 1 / (4 * degrees)) / math.sqrt(1 + t * t / (2 * degrees))
        return math.erfc(z / math.sqrt(2))
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t), t * t / (degrees + t * t))


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """Return the regularised incomplete beta function; `rest` is 1 - x, without its rounding."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, rest, x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * _log_share(x, rest) + b * _log_share(rest, x)
    )
    # Lentz's method for the continued fraction.
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, 10_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _not_zero(1 + numerator * d)
            c = _not_zero(1 + numerator / c)
            found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * found / a


def _log_share(share: float, rest: float) -> float:
    return math.log1p(-rest) if rest < 0.5 else math.log(share)


def _not_zero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300


def binomial_half(successes: int, trials: int) -> tuple[float, float]:
    """Return the probabilities of at most, and of exactly, so many heads of a fair coin, right to 1e-10."""
    if trials <= _EXACT_TRIALS:
        term = total = 1
        for k in range(1, successes + 1):
            term = term * (trials - k + 1) // k
            total += term
        return total / 2**trials, term / 2**trials
    log_term = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    exactly = term = math.exp(log_term - trials * math.log(2))
    total = term
    for k in range(successes, 0, -1):
        term *= k / (trials - k + 1)
        total += term
        if term < total * 1e-17:
            break
    return min(total, 1.0), exactly
