"""Amounts of money as options of commands."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from ftsdk.errors import SpecError

__all__ = ["amount"]


def amount(option: str, text: str) -> Decimal:
    """Return what an option was set to, with all of its digits.

    Raises:
        SpecError: It isn't a number.
    """
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise SpecError(f"{option} must be an amount such as 0.49, not {text!r}") from error
