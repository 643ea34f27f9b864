"""Estimates as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ftsdk._format import bold, html_block, html_table, notes_html
from ftsdk.protocol.estimates import in_unit

if TYPE_CHECKING:
    from ftsdk.protocol.estimates import Estimate, EstimateLine

__all__ = ["estimate_html", "estimate_text"]


def estimate_text(estimate: Estimate) -> str:
    """Return an estimate as plain text."""
    lines = [f"{heading:<9}{text}" for heading, text in estimate.rows()]
    for heading, parts in estimate.parts.items():
        for source, those in _by_source(parts):
            lines.append(
                f"  {heading.lower()}: {', '.join(f'{one.label} {in_unit(one.amount, one.unit)}' for one in those)}  "
                f"[{source}]"
            )
    lines += [f"Note: {note}" for note in estimate.notes]
    return "\n".join(lines)


def estimate_html(estimate: Estimate) -> str:
    """Return an estimate as an HTML fragment."""
    rows: list[tuple[str, ...]] = []
    for heading, parts in estimate.parts.items():
        # A heading and a source stand once, at the first of the rows that share them.
        first: str = bold(heading)
        for source, those in _by_source(parts):
            cited = source
            for one in those:
                rows.append((first, one.label, in_unit(one.amount, one.unit), cited))
                first = cited = ""
    table = html_table(rows, head=("", "part", "amount", "source"))
    return html_block(html_table(estimate.rows(), has_row_heads=True), table, notes_html(estimate.notes))


def _by_source(parts: Sequence[EstimateLine]) -> list[tuple[str, list[EstimateLine]]]:
    """Group neighbours that have the same source."""
    return [(source, list(those)) for source, those in groupby(parts, key=lambda part: part.source)]
