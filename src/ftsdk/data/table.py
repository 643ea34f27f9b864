"""Rows as they were read, before they are chat or preference data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ftsdk.data.bad_rows import BadRows
from ftsdk.data.location import Location
from ftsdk.errors import DatasetError

__all__ = ["Table", "join_tables", "table_of"]


class Table(NamedTuple):
    """Rows as they were read."""

    rows: tuple[dict[str, Any], ...]
    lines: tuple[int, ...]
    """The line of each row in a text file; elsewhere its number. Both count from 1."""
    columns: tuple[str, ...]
    sources: tuple[str | None, ...] | None = None
    """The source of each row, where several datasets were joined."""

    def at(self, positions: Sequence[int]) -> Table:
        """Return the rows at these positions."""
        return Table(
            tuple(self.rows[i] for i in positions),
            tuple(self.lines[i] for i in positions),
            self.columns,
            None if self.sources is None else tuple(self.sources[i] for i in positions),
        )

    def located(self, source: str | None) -> list[tuple[dict[str, Any], Location]]:
        """Return each row with where it comes from.

        Args:
            source: The source of all rows, unless several datasets were joined.
        """
        sources = self.sources or (source,) * len(self.rows)
        return [(row, Location(one, line)) for row, one, line in zip(self.rows, sources, self.lines, strict=True)]


def table_of(found: Iterable[tuple[int, dict[str, Any]]], *, source: str | None, bad: BadRows | None = None) -> Table:
    """Collect rows with their line numbers.

    Args:
        found: Lines and rows.
        source: The file or hub id, for errors.
        bad: Where the iterator puts rows that can't be read.

    Raises:
        DatasetError: There are no rows, or some can't be read and aren't to be dropped.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    columns: dict[str, None] = {}
    for line, row in found:
        rows.append(row)
        lines.append(line)
        columns.update(dict.fromkeys(row))
    if bad is not None:
        bad.finish(len(rows))
    if not rows:
        raise DatasetError("has no rows.", source=source) if source else DatasetError("there are no rows.")
    return Table(tuple(rows), tuple(lines), tuple(columns))


def join_tables(*tables: tuple[Table, str | None]) -> Table:
    """Return the rows of several tables, one after the other.

    Args:
        tables: Each with the source of its rows.
    """
    columns: dict[str, None] = {}
    for table, _ in tables:
        columns.update(dict.fromkeys(table.columns))
    return Table(
        tuple(row for table, _ in tables for row in table.rows),
        tuple(line for table, _ in tables for line in table.lines),
        tuple(columns),
        tuple(one for table, source in tables for one in table.sources or (source,) * len(table.rows)),
    )
