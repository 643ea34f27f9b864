"""Where a row came from, for errors that name file, line and field."""

from __future__ import annotations

from typing import NamedTuple

from ftsdk.errors import DatasetError

__all__ = ["Location", "plain"]

# Control characters become visible signs, so that a stranger's row can't drive the terminal that shows it.
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


class Location(NamedTuple):
    """A row of a source: line numbers for text files, row numbers (from 1) for everything else."""

    source: str | None
    """The file or hub id; None for rows from memory."""
    line: int

    def error(self, message: str, *, field: str | None = None, hint: str | None = None) -> DatasetError:
        """Make an error that names this row."""
        return DatasetError(message, source=self.source, line=self.line, field=field, hint=hint)


def plain(text: str, width: int | None = None) -> str:
    """Make a stranger's text safe to print, shortened to `width` characters if one is given."""
    text = text.translate(_VISIBLE)
    if width is not None:
        text = text.replace("\n", "\\n").replace("\t", "\\t")
        text = text if len(text) <= width else text[: width - 1] + "…"
    return text
