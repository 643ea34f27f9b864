"""Numbers as they were written: a float keeps about 17 digits, and an amount of money may have more."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Self

__all__ = ["ExactFloat", "as_json_number", "exact_amount", "exact_float", "quoted_amount"]

_PLAIN = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_MOST_CHARACTERS = 1_000
"""A longer text is no amount."""


class ExactFloat(float):
    """A float that also keeps what was written, where that has more digits than a float."""

    written: Decimal

    def __new__(cls, written: Decimal) -> Self:
        self = super().__new__(cls, written)
        self.written = written
        return self

    def __getnewargs__(self) -> tuple[Decimal]:  # type: ignore[override]  # what copies and pickles are made from
        return (self.written,)


def exact_float(text: str) -> float:
    """Return a number in JSON's syntax as a float: a `ExactFloat` if a float can't hold all of its digits."""
    value = float(text)
    try:
        written = Decimal(text)
    except InvalidOperation:  # an exponent of too many digits
        return value
    return value if not written.is_finite() or Decimal(repr(value)) == written else ExactFloat(written)


def exact_amount(amount: Decimal | float) -> Decimal:
    """Return a number as the Decimal that was written: 0.1 is 0.1, not the binary fraction that is nearest to it."""
    if isinstance(amount, ExactFloat):
        return amount.written
    return Decimal(repr(amount)) if isinstance(amount, float) else Decimal(amount)


def as_json_number(amount: Decimal) -> float | str:
    """Return an amount as plain data: a float, or text where a float can't hold all of its digits."""
    number = float(amount)
    return number if not amount.is_finite() or Decimal(repr(number)) == amount else str(amount)


def quoted_amount(value: object) -> object:
    """Return a text from `as_json_number` as a Decimal, and anything else as it is: `"20"` stays a text."""
    if not isinstance(value, str) or len(value) > _MOST_CHARACTERS or not _PLAIN.fullmatch(value):
        return value
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return value
    return amount if isinstance(as_json_number(amount), str) else value
