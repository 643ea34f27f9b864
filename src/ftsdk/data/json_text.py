"""JSON and JSON Lines, read so that every row knows the line it starts on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from ftsdk._format import printable
from ftsdk.data.location import Location
from ftsdk.errors import DatasetError

__all__ = ["json_array", "json_lines"]

_decoder = json.JSONDecoder()
_blank = re.compile(r"[ \t\n\r]*")


def json_lines(text: str, source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the rows of JSON Lines text with their line numbers; blank lines are passed over.

    Raises:
        DatasetError: A line isn't JSON, or isn't an object.
    """
    # Not splitlines(): it also breaks at U+2028 and friends, which JSON strings may hold as they are.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        where = Location(source, line)
        try:
            row = json.loads(content)
        except json.JSONDecodeError as error:
            hint = "A .jsonl file has one object per line; an array of objects belongs in a .json file." if content.strip() in ("[", "{") else None
            raise where.error(f"the line isn't JSON: {error.msg} at column {error.colno}.", hint=hint) from error
        except RecursionError as error:
            raise where.error("the line is nested too deeply to be read.") from error
        yield line, _object(row, where)


def json_array(text: str, source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the rows of a JSON array of objects, or of the array under `"data"`, with the lines they start on.

    Raises:
        DatasetError: The text isn't JSON, or isn't of that shape.
    """
    try:
        yield from _array(text, source)
    except json.JSONDecodeError as error:
        raise Location(source, error.lineno).error(f"the file isn't JSON: {error.msg} at column {error.colno}.") from error
    except RecursionError as error:
        raise DatasetError("the file is nested too deeply to be read.", source=source) from error


def _array(text: str, source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    start = _skip(text, 0)
    if text[start] == "{":
        start = _data_member(text, start, source)
    if text[start] != "[":
        raise DatasetError('must hold an array of objects, or {"data": [...]}.', source=source)
    line, counted = 1, 0
    position = _skip(text, start + 1)
    if text[position : position + 1] == "]":
        return
    while True:
        line += text.count("\n", counted, position)
        counted = position
        row, position = _decoder.raw_decode(text, position)
        yield line, _object(row, Location(source, line))
        position = _skip(text, position)
        sign = text[position : position + 1]
        if sign == "]":
            return
        if sign != ",":
            raise json.JSONDecodeError("expected ',' or ']'", text, position)
        position = _skip(text, position + 1)


def _data_member(text: str, start: int, source: str) -> int:
    """Find where the value of `"data"` starts in the object at `start`."""
    found: int | None = None
    keys: list[str] = []
    position = _skip(text, start + 1)
    while text[position : position + 1] != "}":
        key, position = _decoder.raw_decode(text, position)
        if not isinstance(key, str):
            raise json.JSONDecodeError("expected a key in double quotes", text, position)
        keys.append(key)
        position = _skip(text, position)
        if text[position : position + 1] != ":":
            raise json.JSONDecodeError("expected ':'", text, position)
        position = _skip(text, position + 1)
        if key == "data":
            found = position
        _, position = _decoder.raw_decode(text, position)
        position = _skip(text, position)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
    if found is None:
        one = printable(", ".join(keys), 80)
        lines = _skip(text, position + 1) < len(text)
        hint = "It looks like one object per line: name it .jsonl." if lines else 'Put the rows into an array: [...] or {"data": [...]}.'
        raise DatasetError(f"holds one object ({one}) and not an array of them.", source=source, hint=hint)
    return found


def _skip(text: str, position: int) -> int:
    blank = _blank.match(text, position)
    return blank.end() if blank else position


def _object(row: object, where: Location) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise where.error(f"the row is {_kind(row)}; every row must be an object: {{...}}.")
    return cast("dict[str, Any]", row)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {list: "an array", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
