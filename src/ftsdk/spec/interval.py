"""An amount that isn't known exactly."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ftsdk._rich_text import rich_text
from ftsdk.spec.base import Value

__all__ = ["Amount", "Range"]

Amount = Annotated[float, Field(ge=0)]


class Range(Value):
    """An amount: with 80% confidence between `low` and `high`. Its unit is that of the field it is in."""

    low: Amount
    """The lower end."""
    likely: Amount
    """The estimate."""
    high: Amount
    """The upper end."""

    def __str__(self) -> str:
        if self.low == self.high:
            return _short(self.likely)
        return f"{_short(self.likely)} ({_short(self.low)} to {_short(self.high)})"

    __rich__ = rich_text


def _short(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"
