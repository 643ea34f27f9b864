"""Sums and products of 80 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ftsdk.protocol.estimates import Range

__all__ = ["Z80", "around", "exactly", "multiplied", "total", "within"]

Z80 = 1.2816
"""Standard deviations on each side of an 80 % interval."""


def exactly(amount: float) -> Range:
    """Return the range of an exact amount."""
    return Range(low=amount, likely=amount, high=amount)


def within(likely: float, spread: float) -> Range:
    """Return the 80 % interval around an amount whose logarithm has this standard deviation."""
    factor = math.exp(Z80 * spread)
    return Range(low=likely / factor, likely=likely, high=likely * factor)


def around(likely: float, low: float, high: float, spread: float) -> Range:
    """Combine an interval of the input with the spread of a model: independent, so their logarithms add as squares."""
    below = math.hypot(math.log(likely / low), Z80 * spread) if low > 0 else Z80 * spread
    above = math.hypot(math.log(high / likely), Z80 * spread)
    return Range(low=likely * math.exp(-below), likely=likely, high=likely * math.exp(above))


def total(parts: Sequence[Range]) -> Range:
    """Add independent parts: their distances from the likely amount add as squares."""
    likely = sum(part.likely for part in parts)
    below = math.sqrt(sum((part.likely - part.low) ** 2 for part in parts))
    above = math.sqrt(sum((part.high - part.likely) ** 2 for part in parts))
    return Range(low=max(0.0, likely - below), likely=likely, high=likely + above)


def multiplied(amount: Range, factor: float) -> Range:
    """Multiply a range by a factor."""
    return Range(low=amount.low * factor, likely=amount.likely * factor, high=amount.high * factor)
