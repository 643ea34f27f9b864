"""What an interval is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ftsdk.errors import SpecError
from ftsdk.spec.amounts import check_amount, shown_number

__all__ = ["LARGEST_VALUE", "Interval", "IntervalMethod", "check_confidence", "check_values"]

LARGEST_VALUE = 1e100
"""Sums and squares of larger values don't fit into a float."""

IntervalMethod = Literal["wilson", "tango", "newcombe", "t", "clustered", "bootstrap"]


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


def check_values(values: Sequence[float]) -> None:
    """Raise unless there are values, and all are finite numbers.

    Raises:
        SpecError: They aren't, or one is beyond 1e100.
    """
    if not values:
        raise SpecError("an interval needs at least one value")
    for value in values:
        if not abs(value) <= LARGEST_VALUE:
            raise SpecError(f"values must be finite numbers from -1e100 to 1e100; got {shown_number(value)}")
