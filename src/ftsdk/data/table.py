"""Rows as they were read, before they are chat or preference data."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ftsdk.data.bad_rows import BadRows
from ftsdk.data.batches import MISSING, Batch, BatchWriter, Positions
from ftsdk.data.cells import decode_cells, encode_cells
from ftsdk.data.location import Location
from ftsdk.data.message_rows import message_lists
from ftsdk.data.row_sequence import RowSequence
from ftsdk.errors import DatasetError

__all__ = ["Table", "join_tables", "room_on_disk", "table_of", "table_of_messages"]

_ROWS = 4096
"""Most rows of a batch."""
_CELLS = 1 << 16
"""Most cells of a batch with many columns: rows of which each has columns of its own stay affordable."""


class Table(NamedTuple):
    """Rows as they were read, in Arrow."""

    rows: RowSequence
    lines: Any
    """NumPy array of int64: the line of each row in a text file; elsewhere its number. Both count from 1."""
    columns: tuple[str, ...]
    sources: tuple[Any, tuple[str | None, ...]] | None = None
    """Where several datasets were joined: for each row the number of its source (NumPy), and the sources."""

    def at(self, positions: Positions | Sequence[int]) -> Table:
        """Return the rows at these positions."""
        import numpy

        wanted = numpy.asarray(positions, dtype=numpy.int64)
        sources = None if self.sources is None else (self.sources[0][wanted], self.sources[1])
        return Table(self.rows.at(wanted), self.lines[wanted], self.columns, sources)

    def column(self, name: str) -> Iterator[Any]:
        """Yield the values of one column; None where a row lacks it."""
        return (None if value is MISSING else value for value in self.rows.column(name))

    def places(self, source: str | None) -> Iterator[Location]:
        """Yield where each row comes from.

        Args:
            source: The source of all rows, unless several datasets were joined.
        """
        if self.sources is None:
            return (Location(source, line) for line in self.lines.tolist())
        names = self.sources[1]
        return (
            Location(names[number], line)
            for number, line in zip(self.sources[0].tolist(), self.lines.tolist(), strict=True)
        )

    def located(self, source: str | None) -> Iterator[tuple[dict[str, Any], Location]]:
        """Yield each row with where it comes from; see `places`."""
        return zip(self.rows, self.places(source), strict=True)


def table_of(found: Iterable[tuple[int, dict[str, Any]]], *, source: str | None, bad: BadRows | None = None) -> Table:
    """Collect rows with their line numbers.

    Args:
        found: Lines and rows.
        source: The file or hub id, for errors.
        bad: Where the iterator puts rows that can't be read.

    Raises:
        DatasetError: There are no rows, or some can't be read and aren't to be dropped; the disk is full.
    """
    import numpy

    lines: list[int] = []
    columns: dict[str, None] = {}
    writer = BatchWriter()
    for batch, names in _batched(found, lines):
        columns.update(names)
        with room_on_disk(source):
            writer.add(batch)
    with room_on_disk(source):
        batches = writer.finish()
    if bad is not None:
        bad.finish(len(lines))
    if not lines:
        raise DatasetError("has no rows.", source=source) if source else DatasetError("there are no rows.")
    return Table(RowSequence(batches, _values), numpy.asarray(lines, dtype=numpy.int64), tuple(columns))


@contextmanager
def room_on_disk(source: str | None) -> Generator[None]:
    """Raise `DatasetError` where rows don't fit on the disk.

    Args:
        source: The file or hub id, for errors.
    """
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"the rows can't be kept on this disk: {error.strerror or error}.",
            source=source,
            hint="Make room, or point FTSDK_HOME at a folder on another disk.",
        ) from error


def _batched(found: Iterable[tuple[int, dict[str, Any]]], lines: list[int]) -> Iterator[tuple[Batch, dict[str, None]]]:
    rows: list[dict[str, Any]] = []
    columns: dict[str, None] = {}
    for line, row in found:
        lines.append(line)
        rows.append(row)
        if len(columns) != len(row) or columns.keys() != row.keys():
            columns.update(dict.fromkeys(row))
        if len(rows) >= _ROWS or len(rows) * len(columns) >= _CELLS:
            yield _encoded(rows, columns), columns
            rows, columns = [], {}
    if rows:
        yield _encoded(rows, columns), columns


def _encoded(rows: Sequence[dict[str, Any]], columns: Iterable[str]) -> Batch:
    import pyarrow

    cells: dict[str, Any] = {}
    objects: dict[str, list[Any]] = {}
    for name in columns:
        values = [row.get(name, MISSING) for row in rows]
        made = encode_cells(values)
        if made is None or not _is_name(name):
            objects[name] = values
        else:
            cells[name] = made
    return Batch(len(rows), pyarrow.RecordBatch.from_pydict(cells), objects)


def _is_name(name: str) -> bool:
    """Return whether Arrow can hold the name of a column."""
    return not any("\ud800" <= sign <= "\udfff" for sign in name)


def table_of_messages(rows: RowSequence) -> Table:
    """Return canonical rows as a table of themselves."""
    import numpy

    names = next(rows.batches()).arrow.schema.names
    return Table(rows.read_by(_values), numpy.arange(1, len(rows) + 1), tuple(names))


def _values(column: Any) -> Sequence[Any]:
    """Return the values of a column, whether of cells or, in rows from the store, of messages."""
    import pyarrow

    return message_lists(column) if pyarrow.types.is_list(column.type) else decode_cells(column)


def join_tables(*tables: tuple[Table, str | None]) -> Table:
    """Return the rows of several tables, one after the other.

    Args:
        tables: Each with the source of its rows.
    """
    import numpy

    columns: dict[str, None] = {}
    names: dict[str | None, int] = {}
    numbers: list[Any] = []
    rows: RowSequence | None = None
    for table, source in tables:
        columns.update(dict.fromkeys(table.columns))
        own, known = table.sources or (numpy.zeros(len(table.rows), dtype=numpy.int64), (source,))
        numbers.append(numpy.asarray([names.setdefault(name, len(names)) for name in known])[own])
        rows = table.rows if rows is None else rows + table.rows
    assert rows is not None
    return Table(
        rows,
        numpy.concatenate([table.lines for table, _ in tables]),
        tuple(columns),
        (numpy.concatenate(numbers), tuple(names)),
    )
