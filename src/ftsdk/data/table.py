"""Rows as they were read, before they are chat or preference data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ftsdk.errors import DatasetError

__all__ = ["Table", "table_of"]


class Table(NamedTuple):
    """Rows as they were read."""

    rows: tuple[dict[str, Any], ...]
    lines: tuple[int, ...]
    """The line of each row in a text file; elsewhere its number. Both count from 1."""
    columns: tuple[str, ...]

    def at(self, positions: Sequence[int]) -> Table:
        """Return the rows at these positions."""
        return Table(tuple(self.rows[i] for i in positions), tuple(self.lines[i] for i in positions), self.columns)


def table_of(found: Iterable[tuple[int, dict[str, Any]]], *, source: str | None) -> Table:
    """Collect rows with their line numbers.

    Raises:
        DatasetError: There are none.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    columns: dict[str, None] = {}
    for line, row in found:
        rows.append(row)
        lines.append(line)
        columns.update(dict.fromkeys(row))
    if not rows:
        raise DatasetError("has no rows.", source=source) if source else DatasetError("there are no rows.")
    return Table(tuple(rows), tuple(lines), tuple(columns))
