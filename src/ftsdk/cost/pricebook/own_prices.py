"""Add a price to a file of one's own: a dated row at its end. What is there already is never changed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ftsdk._files import replace_file
from ftsdk.cost.pricebook.book import parse_rows
from ftsdk.cost.pricebook.price import Layer, Price
from ftsdk.errors import SpecError

__all__ = ["add_price", "row_text"]

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
    try:
        before = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        before = ""
    rows = parse_rows(before, layer=layer, where=str(path))
    row = price.replace(layer=layer)
    if any(
        (one.provider, one.sku, one.as_of, one.valid_from) == (row.provider, row.sku, row.as_of, row.valid_from)
        for one in rows
    ):
        raise SpecError(
            f"{path} has a price of {row.provider} {row.sku} of {row.as_of} already, and a price that was noted isn't "
            "overwritten. "
            "Give the day on which you read the new one (--as-of), or correct the file by hand"
        )
    head = "" if re.search(r"^prices:", before, re.MULTILINE) else _HEAD
    after = "".join(f"{part.rstrip()}\n" for part in (before, head) if part.strip()) + row_text(row)
    try:
        is_whole = parse_rows(after, layer=layer, where=str(path)) == (*rows, row)
    except SpecError:
        is_whole = False
    if not is_whole:
        raise SpecError(
            f"{path} can't be appended to, because 'prices:' isn't the last thing in it; add this under 'prices:' by "
            f"hand:\n{row_text(row)}"
        )
    replace_file(path, after.encode(), is_private=False)
    return row


def row_text(price: Price) -> str:
    """Write a price as a row of a price file. Texts are quoted, so nothing in a note can break out of its place."""
    fields = {name: value for name, value in price.to_dict().items() if name != "layer"}
    # A number by its Decimal, not by a float: 0.0000131 stays what it is.
    shown = {
        name: format(getattr(price, name), "f") if name.startswith("usd") else _quoted(value)
        for name, value in fields.items()
    }
    lines = [f"{name}: {value}" for name, value in shown.items()]
    return "\n".join([f"  - {lines[0]}", *(f"    {line}" for line in lines[1:])]) + "\n"


def _quoted(value: object) -> str:
    import yaml

    # JSON isn't quite YAML: characters beyond the first plane are written differently.
    return (
        yaml.safe_dump(value, default_style='"', width=float("inf")).strip()
        if isinstance(value, str)
        else json.dumps(value)
    )
