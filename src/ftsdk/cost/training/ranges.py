"""Sums and products of 80% intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ftsdk.protocol.estimates import Range

__all__ = ["Z80", "around", "exactly", "multiplied", "total", "within"]

Z80 = 1.2816
"""Standard deviations on each side of an 80% interval."""


def exactly(amount: float) -> Range:
    """Return the range of an exact amount."""
    return Range(low=amount, likely=amount, high=amount)


def within(likely: float, spread: float, *, above: float | None = None) -> Range:
    """Return the 80% interval around an amount whose logarithm has this standard deviation.

    Args:
        likely: The amount.
        spread: The standard deviation, below the amount and above it.
        above: The one above, where it is another.
    """
    more = spread if above is None else above
    return Range(low=likely / math.exp(Z80 * spread), likely=likely, high=likely * math.exp(Z80 * more))


def around(likely: float, low: float, high: float, spread: float, *, above: float | None = None) -> Range:
    """Combine an interval of the input with the spread of a model: independent, so their logarithms add as squares.

    Args:
        likely: The amount at the likely input.
        low: The amount at the low end of the input.
        high: The amount at the high end of the input.
        spread: The standard deviation of the amount's logarithm, below it and above it.
        above: The one above, where it is another.
    """
    less = math.hypot(math.log(likely / low), Z80 * spread) if low > 0 else Z80 * spread
    more = math.hypot(math.log(high / likely), Z80 * (spread if above is None else above))
    return Range(low=likely * math.exp(-less), likely=likely, high=likely * math.exp(more))


def total(parts: Sequence[Range]) -> Range:
    """Add independent parts: their distances from the likely amount add as squares."""
    likely = sum(part.likely for part in parts)
    below = math.sqrt(sum((part.likely - part.low) ** 2 for part in parts))
    above = math.sqrt(sum((part.high - part.likely) ** 2 for part in parts))
    return Range(low=max(0.0, likely - below), likely=likely, high=likely + above)


def multiplied(amount: Range, factor: float) -> Range:
    """Multiply a range by a factor."""
    return Range(low=amount.low * factor, likely=amount.likely * factor, high=amount.high * factor)
