"""Add prices to a file of one's own: dated rows at its end. What is there already is never changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from ftsdk._files import replace_file
from ftsdk.cost.pricebook.book import parse_rows
from ftsdk.cost.pricebook.price import Layer, Price, Tier
from ftsdk.errors import SpecError

__all__ = ["add_price", "add_prices", "row_text"]

_HEAD = (
    "# Prices in US dollars without tax. Append a row with its day and source; the newest that is in force "
    "counts.\nprices:\n"
)


def add_price(price: Price, path: Path, *, layer: Layer = "user") -> Price:
    """Append a price to a file, which is made if it isn't there.

    Args:
        price: What to add.
        path: The file.
        layer: Whose file it is.

    Returns:
        The price as it is read back from there.

    Raises:
        SpecError: The file has a row of this sku and day already, or its end isn't the end of its rows; nothing was
            changed.
    """
    return add_prices([price], path, layer=layer)[0]


def add_prices(prices: Iterable[Price], path: Path, *, layer: Layer = "user") -> tuple[Price, ...]:
    """Append prices to a file, all of them or none.

    Args:
        prices: What to add.
        path: The file.
        layer: Whose file it is.

    Returns:
        The prices as they are read back from there.

    Raises:
        SpecError: The file can't be read or written, it has a row of one of these skus and days already, or its end
            isn't the end of its rows; nothing was changed.
    """
    try:
        before = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        before = ""
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} can't be read: {error}") from error
    rows = parse_rows(before, layer=layer, where=str(path))
    added = tuple(price.replace(layer=layer) for price in prices)
    known = {_key(row) for row in rows}
    for row in added:
        if _key(row) in known:
            raise SpecError(
                f"{path} has a price of {row.provider} {row.sku} of {row.as_of} already, and a price that was noted "
                "isn't overwritten. Give the day on which you read the new one (--as-of), or correct the file by hand"
            )
        known.add(_key(row))
    text = "".join(map(row_text, added))
    head = "" if re.search(r"^prices:", before, re.MULTILINE) else _HEAD
    after = "".join(f"{part.rstrip()}\n" for part in (before, head) if part.strip()) + text
    try:
        is_whole = parse_rows(after, layer=layer, where=str(path)) == (*rows, *added)
    except SpecError:
        is_whole = False
    if not is_whole:
        raise SpecError(
            f"{path} can't be appended to, because 'prices:' isn't the last thing in it; add this under 'prices:' by "
            f"hand:\n{text}"
        )
    try:
        replace_file(path, after.encode(), is_private=False)
    except OSError as error:
        raise SpecError(f"{path} can't be written: {error.strerror or error}") from error
    return added


def _key(price: Price) -> tuple[str, str, date, date | None]:
    return (price.provider, price.sku, price.as_of, price.valid_from)


def row_text(price: Price) -> str:
    """Write a price as a row of a price file. Texts are quoted, so nothing in a note can break out of its place."""
    fields = {name: value for name, value in price.to_dict().items() if name != "layer"}
    # A number by its Decimal, not by a float: 0.0000131 stays what it is.
    shown = {
        name: format(getattr(price, name), "f") if name.startswith("usd") else _quoted(value)
        for name, value in fields.items()
        if name != "tiers"
    }
    if price.tiers:
        shown["tiers"] = f"[{', '.join(map(_tier_text, price.tiers))}]"
    lines = [f"{name}: {value}" for name, value in shown.items()]
    return "\n".join([f"  - {lines[0]}", *(f"    {line}" for line in lines[1:])]) + "\n"


def _tier_text(tier: Tier) -> str:
    batch = "" if tier.usd_batch is None else f", usd_batch: {tier.usd_batch:f}"
    return f"{{above_input_tokens: {tier.above_input_tokens}, usd: {tier.usd:f}{batch}}}"


def _quoted(value: object) -> str:
    import yaml

    # JSON isn't quite YAML: characters beyond the first plane are written differently.
    return (
        yaml.safe_dump(value, default_style='"', width=float("inf")).strip()
        if isinstance(value, str)
        else json.dumps(value)
    )
