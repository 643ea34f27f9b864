"""What an interval is."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ftsdk.errors import SpecError
from ftsdk.spec.amounts import check_amount

__all__ = ["Interval", "IntervalMethod", "check_confidence"]

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
