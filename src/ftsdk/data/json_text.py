"""JSON and JSON Lines, read so that every row knows the line it starts on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from ftsdk._format import printable
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.limits import LIMITS
from ftsdk.data.location import Location
from ftsdk.errors import DatasetError

__all__ = ["WrittenFloat", "json_array", "json_lines", "read_json", "refuse_depth"]

_blank = re.compile(r"[ \t\n\r]*")


class WrittenFloat(float):
    """A float that remembers how the file writes it: `1.10` stays `1.10` as text."""

    __slots__ = ("text",)

    def __new__(cls, text: str) -> WrittenFloat:
        """Read the number."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __reduce__(self) -> tuple[type[WrittenFloat], tuple[str]]:
        return WrittenFloat, (self.text,)

    def __str__(self) -> str:
        return self.text


class _DuplicateKey(ValueError):
    """A key that an object has twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise _DuplicateKey(
            f"the key {printable(twice, 80)!r} appears twice in one object; only one value could be kept."
        )
    return found


# Infinity and NaN aren't JSON, but Python's own json writes them.
_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=WrittenFloat, parse_constant=WrittenFloat)
_lenient = json.JSONDecoder(parse_int=str)
"""Finds the end of a value that `_decoder` refuses."""


def read_json(text: str) -> Any:
    """Return the value of sound JSON, floats as it writes them."""
    return _decoder.decode(text)


def json_lines(blocks: Iterable[str], source: str, bad: BadRows) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of JSON Lines text with their line numbers; blank lines are skipped.

    Lines that aren't JSON, aren't an object or have a key twice go to `bad`.

    Args:
        blocks: The text, in pieces that end anywhere.
        source: The file, for errors.
        bad: Where rows go that can't be read.
    """
    scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]
    for line, content in enumerate(_lines(blocks), start=1):
        if not content or content.isspace():
            continue
        try:
            # The short way for what nearly every line is: an object, and nothing behind it.
            row, end = scan(content, 0) if content[0] == "{" else (None, 0)
            if end != len(content):
                row = None
        except (ValueError, RecursionError, StopIteration):
            row = None
        try:
            row = _line(content, Location(source, line)) if row is None else _checked(row, source, line)
        except DatasetError as error:
            bad.add(error, content)
        else:
            yield line, row


def _lines(blocks: Iterable[str]) -> Iterator[str]:
    # Not splitlines(): it also breaks at U+2028 and others, which JSON strings may hold as they are.
    begun: list[str] = []
    for block in blocks:
        first, *others = block.split("\n")
        begun.append(first)
        if others:
            yield "".join(begun)
            yield from others[:-1]
            begun = [others[-1]]
    yield "".join(begun)


def _line(content: str, where: Location) -> dict[str, Any]:
    try:
        row = _decoder.decode(content)
    except json.JSONDecodeError as error:
        hint = (
            "A .jsonl file has one object per line; an array of objects belongs in a .json file."
            if content.strip() in ("[", "{")
            else None
        )
        raise where.error(f"the line isn't JSON: {error.msg} at column {error.colno}.", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, where, "line") from error
    return _object(row, where)


def _checked(row: dict[str, Any], source: str, line: int) -> dict[str, Any]:
    for value in row.values():
        if type(value) is dict or type(value) is list:
            refuse_depth(row, Location(source, line))
            break
    return row


def json_array(text: str, source: str, bad: BadRows) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a JSON array of objects, or of the array under `"data"`, with the lines they start on.

    Elements that aren't an object or have a key twice go to `bad`.

    Raises:
        DatasetError: The text isn't JSON, isn't of that shape, or has anything after its value.
    """
    try:
        yield from _array(text, source, bad)
    except json.JSONDecodeError as error:
        raise Location(source, error.lineno).error(
            f"the file isn't JSON: {error.msg} at column {error.colno}."
        ) from error


def _array(text: str, source: str, bad: BadRows) -> Iterator[tuple[int, dict[str, Any]]]:
    start = _skip(text, 0)
    end: int | None = None
    if text[start] == "{":
        start, end = _data_member(text, start, source)
    if text[start] != "[":
        raise DatasetError('must hold an array of objects, or {"data": [...]}.', source=source)
    line, counted = 1, 0
    position = _skip(text, start + 1)
    is_first = True
    while True:
        sign = text[position : position + 1]
        if sign == "]" and is_first:
            break
        line += text.count("\n", counted, position)
        counted = position
        where, start = Location(source, line), position
        try:
            value, position = _value(text, position, where)
            row = _object(value, where)
        except DatasetError as error:
            position = _end_of(text, start, error)
            bad.add(error, text[start:position])
        else:
            yield line, row
        is_first = False
        position = _skip(text, position)
        sign = text[position : position + 1]
        if sign == "]":
            break
        if sign != ",":
            raise json.JSONDecodeError("expected ',' or ']'", text, position)
        position = _skip(text, position + 1)
    if end is None:
        _refuse_more(text, position + 1, source)


def _data_member(text: str, start: int, source: str) -> tuple[int, int]:
    """Return where the value of `"data"` starts in the object at `start`, and where the object ends."""
    members: dict[str, int] = {}
    position = _skip(text, start + 1)
    while text[position : position + 1] != "}":
        line = text.count("\n", 0, position) + 1
        key, position = _value(text, position, Location(source, line))
        if not isinstance(key, str):
            raise json.JSONDecodeError("expected a key in double quotes", text, position)
        if key in members:
            raise Location(source, line).error(
                f"the key {printable(key, 80)!r} appears twice; only one value could be kept."
            )
        position = _skip(text, position)
        if text[position : position + 1] != ":":
            raise json.JSONDecodeError("expected ':'", text, position)
        position = members[key] = _skip(text, position + 1)
        _, position = _value(text, position, Location(source, line))
        position = _skip(text, position)
        sign = text[position : position + 1]
        if sign == ",":
            position = _skip(text, position + 1)
        elif sign != "}":
            raise json.JSONDecodeError("expected ',' or '}'", text, position)
    if "data" not in members:
        is_lines = text[_skip(text, position + 1) :].startswith("{")
        hint = (
            "It looks like one object per line: name it .jsonl."
            if is_lines
            else 'Put the rows into an array: [...] or {"data": [...]}.'
        )
        raise DatasetError(
            f"holds one object ({printable(', '.join(members), 80)}) and not an array of them.",
            source=source,
            hint=hint,
        )
    _refuse_more(text, position + 1, source)
    return members["data"], position


def _value(text: str, position: int, where: Location) -> tuple[Any, int]:
    try:
        return _decoder.raw_decode(text, position)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, where, "row") from error


def _end_of(text: str, start: int, error: DatasetError) -> int:
    """Return where a value ends that can't be used; if that can't be found out, all is lost."""
    try:
        return _lenient.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        raise error from None


def _unreadable(error: ValueError | RecursionError, where: Location, what: str) -> DatasetError:
    if isinstance(error, RecursionError):
        return where.error(f"the {what} is nested too deeply to be read.")
    # Besides duplicate keys, only numbers of thousands of digits get here.
    return where.error(
        str(error) if isinstance(error, _DuplicateKey) else f"the {what} has a number that is too long to be read."
    )


def _refuse_more(text: str, position: int, source: str) -> None:
    """Refuse anything after the value of a file."""
    position = _skip(text, position)
    if position < len(text):
        raise Location(source, text.count("\n", 0, position) + 1).error(
            f"the file has more after its JSON value: {printable(text[position : position + 40], 40)!r}.",
            hint=(
                "If these are two files in one, join their arrays into one; one object per line belongs in a .jsonl "
                "file."
            ),
        )


def _skip(text: str, position: int) -> int:
    blank = _blank.match(text, position)
    return blank.end() if blank else position


def _object(row: object, where: Location) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise where.error(f"the row is {_kind(row)}; every row must be an object: {{...}}.")
    found = cast("dict[str, Any]", row)
    refuse_depth(found, where)
    return found


def refuse_depth(row: dict[str, Any], where: Location) -> None:
    """Raise `DatasetError` for a row that can be read but, nested so deeply, not shown or compared."""
    level: list[Any] = [row]
    for _ in range(LIMITS.nesting):
        level = [
            inner
            for value in level
            for inner in (cast("dict[str, Any]", value).values() if isinstance(value, dict) else value)
            if type(inner) in (dict, list)
        ]
        if not level:
            return
    raise where.error(f"the row is nested deeper than {LIMITS.nesting} levels.")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {
        list: "an array",
        str: "text",
        bool: "true or false",
        int: "a number",
        WrittenFloat: "a number",
        float: "a number",
    }
    return names.get(type(value), type(value).__name__)
