"""One row of a feed, checked: a price, a reason why it can't be one, or nothing where it is free."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, NamedTuple

from ftsdk._format import printable
from ftsdk._rich_text import rich_text
from ftsdk.cost.pricebook.feed_source import feed_facts
from ftsdk.cost.pricebook.price import Price
from ftsdk.errors import SpecError

__all__ = ["BadRow", "amount", "is_free", "known_provider", "make_price"]

_NAME = re.compile(r"[A-Za-z0-9@~][\w./:@+~=-]{0,199}")
_SMALLEST, _LARGEST = -15, 12
"""Powers of ten: an amount outside has no meaning, and would take gigabytes to write in full."""


class BadRow(NamedTuple):
    """A row that can't be a price, safe to be printed."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"

    __rich__ = rich_text


def known_provider(name: str) -> str:
    """Return a provider's name in the price book for its name in a feed."""
    return str(feed_facts()["providers"].get(name, name))


def is_free(value: Any) -> bool:
    """Return whether a feed says 0 or nothing: free, or not known."""
    return value is None or (not isinstance(value, bool) and isinstance(value, (int, float, Decimal)) and value == 0)


def amount(value: Any, times: int = 1) -> Decimal:
    """Return US dollars from a number of a feed.

    Args:
        value: The number as it was read.
        times: A million for a price per token.

    Raises:
        SpecError: It isn't a number, or none that can be a price.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise SpecError(f"{printable(repr(value), 60)} isn't a number")
    number = Decimal(str(value)) if isinstance(value, (int, float)) else value
    if not number.is_finite() or number <= 0:
        raise SpecError(f"{printable(str(number), 60)} can't be a price")
    if not _SMALLEST <= number.adjusted() <= _LARGEST:
        raise SpecError(f"{number:.3e} can't be a price")
    # Twelve digits are more than any price list has; more come from binary fractions.
    return Decimal(f"{number * times:.12g}").normalize()


def make_price(provider: str, name: str, **fields: Any) -> Price | BadRow:
    """Return a price, or why it can't be one.

    Args:
        provider: As the price book calls it.
        name: What is sold, which becomes part of the sku.
        fields: The price's other fields.
    """
    label = printable(f"{provider} {fields.get('sku', name)}", 120)
    if not (_NAME.fullmatch(provider) and _NAME.fullmatch(name)):
        return BadRow(label, "its name has characters that no name of a model has")
    try:
        return Price.from_dict({"provider": provider, "layer": "user", **fields})
    except SpecError as error:
        return BadRow(label, printable(str(error), 200))
