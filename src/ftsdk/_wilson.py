"""The Wilson score interval of a share."""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["wilson"]


def wilson(total: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share; a total of values between 0 and 1 need not be whole.

    Args:
        total: How many of the `n`, from 0 to `n`.
        n: How many were tried, at least 1.
        confidence: The level, between 0 and 1.

    Source: E. B. Wilson, JASA 22 (1927) 209-212; Newcombe, Statistics in Medicine 17 (1998) 857-872, method 3.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = total / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(max(share * (1 - share), 0.0) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the edges the interval touches 0 or 1 exactly; floating point would miss it by 1e-17.
    low = 0.0 if total <= 0 else max(0.0, (centre - half) / scale)
    high = 1.0 if total >= n else min(1.0, (centre + half) / scale)
    return low, high
