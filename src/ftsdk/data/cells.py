"""Values of a table as cells of Arrow text columns, exactly: what comes back equals what went in.

A cell is the text itself, which Arrow's own functions can search; null where the row lacks the column; or, behind a
NUL, the JSON of any other value. Text that begins with a NUL, or that UTF-8 can't hold, is written as JSON too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii
from typing import Any, cast

from ftsdk.data.batches import MISSING
from ftsdk.data.json_text import WrittenFloat, read_json

__all__ = ["decode_cells", "encode_cells", "is_plain"]

_JSON = "\0"
_WRITTEN = "\0\0"
"""Before JSON whose floats stay as the file writes them."""


def encode_cells(values: Sequence[Any]) -> Any | None:
    """Return values as a `pyarrow.LargeStringArray`; None if one is of a type that JSON doesn't have.

    Args:
        values: Any Python values. `MISSING` stands for a row that lacks the column.
    """
    import pyarrow

    kinds = set(map(type, values))
    if kinds <= {str, type(MISSING)}:
        texts = values if len(kinds) == 1 else [None if value is MISSING else value for value in values]
        try:
            made = pyarrow.array(texts, pyarrow.large_string())
        except UnicodeEncodeError:  # half a surrogate pair
            pass
        else:
            if not _has_json(made):
                return made
    try:
        if kinds == {int}:
            return pyarrow.array([f"{_JSON}{value}" for value in values], pyarrow.large_string())
        return pyarrow.array([_encoded(value) for value in values], pyarrow.large_string())
    except (TypeError, ValueError, RecursionError):  # Python writes out no integer of more than 4,300 digits
        return None


def _encoded(value: Any) -> str | None:
    if value is MISSING:
        return None
    if type(value) is str:
        return value if not value.startswith(_JSON) and _is_unicode(value) else _JSON + encode_basestring_ascii(value)
    marked: list[float] = []
    text = _as_json(value, marked)
    if len(kinds := set(map(type, marked))) > 1:
        raise TypeError("where floats stay as they are written, inf would become Infinity")
    return (_WRITTEN if WrittenFloat in kinds else _JSON) + text


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_json(value: Any, marked: list[float]) -> str:
    """Return the JSON of a value.

    Args:
        value: Plain Python.
        marked: Takes the floats that remember how the file writes them, and those that JSON doesn't have.

    Raises:
        TypeError: It holds a value of another type.
    """
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)
    if kind is WrittenFloat:
        marked.append(value)
        return value.text
    if kind is float and not math.isfinite(value):
        marked.append(value)
    if value is None or kind is bool or kind is int or kind is float:
        return json.dumps(value)
    if kind is list:
        return "[" + ",".join([_as_json(one, marked) for one in value]) + "]"
    if kind is dict:
        members: list[str] = []
        for key, one in cast("dict[Any, Any]", value).items():
            if type(key) is not str:
                raise TypeError(f"a key of the type {type(key).__name__}")
            members.append(encode_basestring_ascii(key) + ":" + _as_json(one, marked))
        return "{" + ",".join(members) + "}"
    raise TypeError(f"a value of the type {kind.__name__}")


def is_plain(cells: Any) -> bool:
    """Return whether all cells are text as it is, so that Arrow's functions on text can be used."""
    return not cells.null_count and not _has_json(cells)


def _has_json(cells: Any) -> bool:
    import pyarrow.compute as compute

    coded = compute.call_function("starts_with", [cells], compute.MatchSubstringOptions(_JSON))
    return bool(compute.call_function("any", [coded]).as_py())


def decode_cells(cells: Any) -> list[Any]:
    """Return the values of a column; `MISSING` where a row lacks it."""
    found: list[Any] = cells.to_pylist()
    return found if is_plain(cells) else [_decoded(cell) for cell in found]


def _decoded(cell: str | None) -> Any:
    if cell is None:
        return MISSING
    if cell.startswith(_WRITTEN):
        return read_json(cell[2:])
    return json.loads(cell[1:]) if cell.startswith(_JSON) else cell
