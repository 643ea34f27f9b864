"""Checks of numbers that come in as plain arguments, outside of any `Value`."""

from __future__ import annotations

import math
from decimal import Decimal

from ftsdk.errors import SpecError

__all__ = ["check_amount", "shown_number"]


def check_amount(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float = 1e12,
    is_whole: bool = False,
) -> None:
    """Raise unless a value is a finite number within its bounds.

    Args:
        name: What it is called, for the message.
        value: The number: int, float or Decimal; a bool or text is refused.
        above: Exclusive lower bound.
        at_least: Inclusive lower bound.
        at_most: Inclusive upper bound.
        is_whole: Whether it must be an int.

    Raises:
        SpecError: It isn't such a number.
    """
    low = f"above {above:g}" if above is not None else f"from {at_least:g}" if at_least is not None else "at most"
    if isinstance(value, bool) or not isinstance(value, int if is_whole else int | float | Decimal):
        kind = "a whole number" if is_whole else "a number"
        raise SpecError(f"{name}={value!r} is not {kind}: pass one {low} to {at_most:g}")
    is_finite = value.is_finite() if isinstance(value, Decimal) else isinstance(value, int) or math.isfinite(value)
    is_low = is_finite and ((above is not None and value <= above) or (at_least is not None and value < at_least))
    if not is_finite or is_low or value > at_most:
        raise SpecError(f"{name} must be a number {low} to {at_most:g}; got {shown_number(value)}")


def shown_number(value: object) -> str:
    """Return a number for a message; Python itself refuses to write one of over 4,300 digits."""
    is_huge = isinstance(value, int) and abs(value) > 10**40
    return "a number of many digits" if is_huge or len(repr(value)) > 50 else repr(value)
