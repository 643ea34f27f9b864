"""Estimates as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ftsdk.protocol.estimates import in_unit
from ftsdk.protocol.fragments import cell, head, head_table, linked, notes_html

if TYPE_CHECKING:
    from ftsdk.protocol.estimates import Estimate, EstimateLine

__all__ = ["estimate_html", "estimate_text"]


def estimate_text(estimate: Estimate) -> str:
    """Write an estimate as plain text."""
    lines = [f"{heading:<9}{text}" for heading, text in estimate.rows()]
    for heading, parts in estimate.parts.items():
        for source, those in _by_source(parts):
            lines.append(f"  {heading.lower()}: {', '.join(f'{one.label} {in_unit(one.amount, one.unit)}' for one in those)}  [{source}]")
    lines += [f"Note: {note}" for note in estimate.notes]
    return "\n".join(lines)


def estimate_html(estimate: Estimate) -> str:
    """Write an estimate as an HTML fragment."""
    body = ""
    for heading, parts in estimate.parts.items():
        first = cell(f"<b>{heading}</b>", rows=len(parts))
        for source, those in _by_source(parts):
            cited = cell(linked(source), rows=len(those))
            for one in those:
                body += f"<tr>{first}{cell(html.escape(one.label))}{cell(in_unit(one.amount, one.unit), style='white-space:nowrap')}{cited}</tr>"
                first = cited = ""
    table = f"<table><tr><th></th>{head('part')}{head('amount')}{head('source')}</tr>{body}</table>" if body else ""
    return f"{head_table(estimate.rows())}{table}{notes_html(estimate.notes)}"


def _by_source(parts: Sequence[EstimateLine]) -> list[tuple[str, list[EstimateLine]]]:
    """Group neighbours that have the same source."""
    return [(source, list(those)) for source, those in groupby(parts, key=lambda part: part.source)]
