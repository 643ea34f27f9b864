"""What an interval is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ftsdk.errors import SpecError
from ftsdk.spec.amounts import check_amount, shown_number

__all__ = ["INTERVAL_METHODS", "LARGEST_VALUE", "Interval", "IntervalMethod", "check_confidence", "check_values"]

LARGEST_VALUE = 1e300
"""Sums of larger values don't fit into a float."""
_ROUNDING = 1e-9

IntervalMethod = Literal["wilson", "tango", "newcombe", "t", "clustered", "bootstrap"]

INTERVAL_METHODS = {
    "wilson": "Wilson",
    "tango": "Tango",
    "newcombe": "Newcombe",
    "t": "Student's t",
    "clustered": "clustered t",
    "bootstrap": "bootstrap",
    "normal": "normal",
}
"""What a table calls a way to compute an interval; `normal` stands in reports of earlier versions."""


class Interval(NamedTuple):
    """A confidence interval and how it was computed."""

    low: float
    high: float
    method: IntervalMethod


def check_confidence(confidence: float) -> float:
    """Return the level.

    Raises:
        SpecError: It isn't a number between 0 and 1.
    """
    check_amount("confidence", confidence, above=0, at_most=1)
    if confidence == 1:
        raise SpecError(f"confidence must be below 1, such as 0.95; got {confidence}")
    return confidence


def check_values(values: Sequence[float], *, is_bounded: bool = False) -> None:
    """Raise unless there are values, and all are finite numbers.

    Args:
        values: The values.
        is_bounded: They must lie between 0 and 1, but for rounding.

    Raises:
        SpecError: They aren't, or one is beyond 1e300.
    """
    if not values:
        raise SpecError("an interval needs at least one value")
    low, high = (-_ROUNDING, 1 + _ROUNDING) if is_bounded else (-LARGEST_VALUE, LARGEST_VALUE)
    for value in values:
        if not low <= value <= high:
            bounds = "between 0 and 1" if is_bounded else "from -1e300 to 1e300"
            raise SpecError(f"values must be finite numbers {bounds}; got {shown_number(value)}")
