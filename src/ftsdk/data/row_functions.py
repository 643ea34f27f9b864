"""Functions of the user that are called for each row."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, cast

from ftsdk.data.bad_rows import DroppedRow
from ftsdk.data.location import Location
from ftsdk.data.sources import plain_row

__all__ = ["kept_by", "mapped_table"]


def mapped_table(
    rows: Iterable[dict[str, Any]], places: Iterable[Location], function: Callable[[dict[str, Any]], Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield what the function makes of each row.

    Raises:
        DatasetError: It returns something else than a row.
    """
    for row, where in zip(rows, places, strict=True):
        result = cast("object", _called(function, row, where, "map"))
        _close(result)
        if not isinstance(result, Mapping):
            raise where.error(
                f"the function of map returned a {type(result).__name__}, not a row: a dict of columns.",
                hint="Return the row, changed or not; filter leaves rows out.",
            )
        for key in cast("Mapping[object, Any]", result):
            if not isinstance(key, str):
                raise where.error(f"the function of map returned a row with the column {key!r}, whose name isn't text.")
        yield plain_row(cast("Mapping[str, Any]", result), where)


def kept_by(
    rows: Iterable[dict[str, Any]], places: Iterable[Location], function: Callable[[dict[str, Any]], object]
) -> tuple[tuple[int, ...], tuple[DroppedRow, ...]]:
    """Return the positions of the rows for which the function is true, and the other rows.

    Raises:
        DatasetError: It returns None, as a function without `return` does, or what a function with `async` or `yield`
            returns, which is always true.
    """
    kept: list[int] = []
    dropped: list[DroppedRow] = []
    name = getattr(function, "__qualname__", type(function).__qualname__)
    for position, (row, where) in enumerate(zip(rows, places, strict=True)):
        result = _called(function, row, where, "filter")
        _check_verdict(result, where)
        if _called(bool, result, where, "filter"):
            kept.append(position)
        else:
            dropped.append(DroppedRow(where.source, where.line, f"filter {name}", row))
    return tuple(kept), tuple(dropped)


def _check_verdict(result: object, where: Location) -> None:
    _close(result)
    if inspect.isawaitable(result) or isinstance(result, Generator | AsyncGenerator):
        raise where.error(
            f"the function of filter returned a {type(result).__name__}, which is always true.",
            hint="Write it without async and yield.",
        )
    if inspect.isroutine(result):
        raise where.error(
            f"the function of filter returned {result!r}, which is always true.", hint="Call it: name(...), not name."
        )
    if result is None:
        raise where.error("the function of filter returned None, neither true nor false.")


def _close(result: object) -> None:
    """Close a coroutine, since one that is dropped warns."""
    if inspect.iscoroutine(result):
        result.close()


def _called(function: Callable[[Any], Any], row: object, where: Location, what: str) -> Any:
    try:
        return function(row)
    except Exception as error:
        error.add_note(f"in the function of {what}, at {where}")
        raise
