"""One step of cleaning on rows: what is kept, removed and changed, with the step's record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.data.bad_rows import DroppedRow
from ftsdk.data.cleaning.changes import ChangedRows, Changes
from ftsdk.data.cleaning.cleaner import Cleaner, Removed
from ftsdk.data.cleaning.row_texts import CleanRows, Format
from ftsdk.data.location import Location
from ftsdk.data.message_rows import message_rows
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.table import room_on_disk, table_of
from ftsdk.errors import DatasetError
from ftsdk.spec import Value

__all__ = ["CleanedRows", "apply_cleaner", "replaced"]


@dataclass(frozen=True, slots=True)
class CleanedRows:
    """Rows after a step."""

    rows: RowSequence
    """All rows, those that are removed among them."""
    kept: Sequence[int]
    """Positions of the rows that aren't removed, ascending."""
    removed: tuple[DroppedRow, ...]
    changed: ChangedRows
    keys: Mapping[str, Mapping[str, str]]
    """By the place of the row, what its new placeholders stand for."""


def apply_cleaner(
    cleaner: Cleaner,
    parameters: Value,
    rows: RowSequence,
    *,
    format: Format,  # noqa: A002
    places: Callable[[], Iterator[Location]],
    source: str | None,
) -> CleanedRows:
    """Run a step.

    Args:
        cleaner: The step.
        parameters: Its parameters.
        rows: The rows as they are now.
        format: What they are.
        places: Where they come from.
        source: The file or hub id, for errors.

    Raises:
        DatasetError: The step can't be used on these rows, or removes all of them.
        MissingExtraError: The step needs a library that isn't installed.
    """
    given = {name: getattr(parameters, name) for name in type(parameters).model_fields}
    reasons: dict[int, str] = {}
    positions: list[int] = []
    changes: list[str] = []
    keys: dict[int, Mapping[str, str]] = {}

    def changed_rows() -> Iterator[dict[str, Any]]:
        for verdict in cleaner.run(CleanRows(rows, format, places), **given):
            if isinstance(verdict, Removed):
                reasons[verdict.position] = verdict.reason
                continue
            positions.append(verdict.position)
            changes.append(verdict.reason)
            if verdict.key:
                keys[verdict.position] = verdict.key
            yield verdict.row

    try:
        after, new = replaced(rows, positions, changed_rows(), format=format, source=source)
    except DatasetError as error:
        if error.source is not None or error.line is not None:
            raise
        raise DatasetError(error.reason, source=source) from error
    if len(reasons) == len(rows):
        first = reasons[min(reasons)]
        raise DatasetError(
            f"{cleaner.name} removes all of the {len(rows):,} rows; of the first: {first}.", source=source
        )
    touched = set(positions) | reasons.keys()
    where = {number: place for number, place in enumerate(places()) if number in touched} if touched else {}
    gone = sorted(reasons)
    removed = tuple(
        DroppedRow(where[number].source, where[number].line, f"{cleaner.name}: {reasons[number]}", row)
        for number, row in zip(gone, rows.at(gone), strict=True)
    )
    changed = Changes(rows.at(positions), new, [where[number] for number in positions], changes) if positions else None
    return CleanedRows(
        after,
        [number for number in range(len(rows)) if number not in reasons] if reasons else range(len(rows)),
        removed,
        ChangedRows([changed] if changed else []),
        {str(where[number]): key for number, key in keys.items()},
    )


def replaced(
    rows: RowSequence,
    positions: Sequence[int],
    new: Iterator[dict[str, Any]],
    *,
    format: Format,  # noqa: A002
    source: str | None,
) -> tuple[RowSequence, RowSequence]:
    """Return rows with some of them replaced, and the new ones.

    Args:
        rows: The rows as they are.
        positions: The positions of those that are replaced; may be filled while `new` is read.
        new: The rows in their stead, one for each position.
        format: What the rows are.
        source: The file or hub id, for errors.

    Raises:
        DatasetError: The disk is full.
    """
    import numpy

    if format == "table":
        first = next(new, None)
        if first is None:
            return rows, rows.at([])
        made = table_of(enumerate(_chained(first, new), start=1), source=source).rows
    else:
        with room_on_disk(source):
            made = message_rows(new)
    if not len(made):
        return rows, made
    order = numpy.arange(len(rows))
    order[numpy.asarray(positions, dtype=numpy.int64)] = len(rows) + numpy.arange(len(made))
    return (rows + made).at(order), made


def _chained(first: dict[str, Any], others: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from others
