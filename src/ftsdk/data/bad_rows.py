"""Rows that can't be used: collected, then listed in one error or kept aside."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ftsdk.data.limits import LIMITS
from ftsdk.errors import DatasetError

__all__ = ["BadRows", "DroppedRow", "OnBad"]

OnBad = Literal["raise", "drop"]
"""What happens to rows that can't be used: an error that lists them, or they are left out and kept in `dropped`."""


class DroppedRow(NamedTuple):
    """A row that was left out, and why."""

    source: str | None
    """The file or hub id; None for rows from memory."""
    line: int
    """The line of the row in a text file; elsewhere its number. Both count from 1."""
    reason: str
    row: Any
    """The row as it was read; the text of the line if it couldn't be read at all."""


class BadRows:
    """The rows of one step that can't be used."""

    def __init__(self, on_bad: OnBad = "raise") -> None:
        """Collect bad rows.

        Raises:
            DatasetError: `on_bad` is something else than `"raise"` or `"drop"`.
        """
        if on_bad not in ("raise", "drop"):
            raise DatasetError(
                f"on_bad={on_bad!r} isn't known.", hint='Pass "raise", or "drop" to keep bad rows in .dropped.'
            )
        self.on_bad: OnBad = on_bad
        self.count = 0
        self.dropped: list[DroppedRow] = []
        self._errors: list[DatasetError] = []

    def add(self, error: DatasetError, row: Any) -> None:
        """Take a row that can't be used, with the error that says why."""
        self.count += 1
        if len(self._errors) < LIMITS.listed_rows:
            self._errors.append(error)
        if self.on_bad == "drop":
            where = "" if error.field is None else f"field {error.field!r}: "
            self.dropped.append(DroppedRow(error.source, error.line or 0, where + error.reason, row))

    def finish(self, good: int) -> tuple[DroppedRow, ...]:
        """Return the rows that are kept aside.

        Args:
            good: How many rows can be used.

        Raises:
            DatasetError: There are bad rows and `on_bad` is `"raise"`, or no good ones are left. It lists up to ten.
        """
        if not self.count or (self.on_bad == "drop" and good):
            return tuple(self.dropped)
        first = self._errors[0]
        if self.count == 1:
            raise first
        raise first.with_more(self._errors[1:], count=self.count, of=self.count + good)
