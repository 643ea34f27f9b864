"""Rows of Arrow tables as plain Python."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, cast

from ftsdk._format import printable
from ftsdk.data.json_text import WrittenFloat
from ftsdk.errors import DatasetError

__all__ = ["arrow_rows", "class_name", "short_float"]


def arrow_rows(table: Any, source: str | None = None) -> list[dict[str, Any]]:
    """Read the rows of a pyarrow table; one that `datasets` wrote names its classes in the metadata."""
    try:
        rows: list[dict[str, Any]] = table.to_pylist()
    except (ValueError, OverflowError) as error:  # text that isn't UTF-8, a date beyond the year 9999
        raise DatasetError(
            f"a value can't be read ({printable(str(error), 300)}).", source=source, hint="Remove or convert the value."
        ) from error
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        if str(kind) in ("float", "halffloat"):
            for row, value in zip(rows, table[name].to_numpy(), strict=True):
                row[name] = None if row[name] is None else short_float(value)
    try:
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    except (TypeError, KeyError, ValueError):
        return rows
    for name, feature in cast("dict[str, Any]", features).items() if isinstance(features, dict) else ():
        if name in table.schema.names and isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            try:
                names = [str(one) for one in feature["names"]]
                for row in rows:
                    row[name] = class_name(row[name], names.__getitem__)
            except (LookupError, TypeError, ValueError) as error:
                raise DatasetError(
                    f"the column {printable(name, 80)!r} holds numbers of classes that its metadata doesn't name.",
                    source=source,
                ) from error
    return rows


def short_float(value: Any) -> float:
    """Return a short float as its library shows it: 0.1, not the 0.10000000149011612 that a long one makes of it."""
    return WrittenFloat(str(value)) if math.isfinite(value) else float(value)


def class_name(value: int | None, name_of: Callable[[int], str]) -> str | None:
    """Return the name of a class by its number; None where there is no label."""
    # -1 is how sets without labels write "no label".
    return None if value is None or value < 0 else name_of(int(value))
