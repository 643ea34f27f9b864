"""Excerpts of rows for a report: short, and without what must not be repeated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ftsdk.data.privacy import Finding as Found
from ftsdk.data.privacy import scrub
from ftsdk.data.report.finding import Example
from ftsdk.data.rows import Rows

__all__ = ["MOST_EXAMPLES", "Excerpts", "excerpt"]

MOST_EXAMPLES = 5
_WIDTH = 160
_AROUND = 60
_READ = 4_000
_PLACEHOLDER = re.compile(r"\[[A-Z_]+_[0-9]+\]")


class Excerpts:
    """Makes examples of rows, with the line of each in its file."""

    def __init__(self, dataset: Rows, texts: Sequence[str], name: str = "") -> None:
        """Look at the rows of a dataset.

        Args:
            dataset: Where the rows are.
            texts: A text for each row.
            name: The name of the dataset if it isn't the one that the report is about.
        """
        self._dataset = dataset
        self._texts = texts
        self._name = name

    def of(self, rows: Iterable[int], notes: Sequence[str] = ()) -> list[Example]:
        """Return examples of the first few rows.

        Args:
            rows: Positions.
            notes: What to add to the excerpt of each, such as the label that it should have.
        """
        return [
            self.from_text(row, self._texts[row], note=notes[n] if n < len(notes) else "")
            for n, row in enumerate(rows)
            if n < MOST_EXAMPLES
        ]

    def from_text(self, row: int, text: str, *, note: str = "") -> Example:
        """Return an example with an excerpt of a text."""
        shown = excerpt(text)
        return Example(
            row=row,
            line=self._dataset.line_of(row),
            excerpt=f"{shown} ({scrub([note]).texts[0]})" if note else shown,
            dataset=self._name,
        )


def excerpt(text: str, found: Found | None = None) -> str:
    """Return a short part of a text in one line; personal data and credentials become placeholders.

    Args:
        text: The text.
        found: What to show; None: the beginning.
    """
    start = 0 if found is None else max(0, found.start - _READ // 2)
    part = scrub([text[start : start + _READ]]).texts[0]
    if found is not None:
        marks = [match.start() for match in _PLACEHOLDER.finditer(part)]
        # The placeholders before may be longer or shorter than what they stand for.
        mark = min(marks, key=lambda at: abs(at - (found.start - start)), default=0)
        begin = max(0, mark - _AROUND)
        part = ("…" if begin or start else "") + part[begin : begin + _WIDTH]
    part = " ".join(part.split())
    return part if len(part) <= _WIDTH else part[: _WIDTH - 1] + "…"
