"""Where a row comes from, for errors that name file, line and field."""

from __future__ import annotations

from typing import NamedTuple

from ftsdk.errors import DatasetError

__all__ = ["Location"]


class Location(NamedTuple):
    """A row of a source: line numbers for text files, row numbers (from 1) for everything else."""

    source: str | None
    """The file or hub id; None for rows from memory."""
    line: int

    def __str__(self) -> str:
        return f"row {self.line}" if self.source is None else f"{self.source}:{self.line}"

    def error(self, message: str, *, field: str | None = None, hint: str | None = None) -> DatasetError:
        """Return an error that names this row."""
        return DatasetError(message, source=self.source, line=self.line, field=field, hint=hint)
