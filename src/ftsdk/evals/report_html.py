"""A report as HTML, for notebooks and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._format import Html, escaped, html_block, html_table, notes_html
from ftsdk.evals.report_text import columns, heading, numeric_columns, rows, sentences

if TYPE_CHECKING:
    from ftsdk.evals.report import EvalReport
    from ftsdk.evals.results import EvalScore

__all__ = ["to_html"]

_WIDTH, _HEIGHT = 200, 16
"""Of a score's bar, in pixels."""


def to_html(report: EvalReport) -> str:
    """Return the report as a self-contained piece of HTML: bounded scores have a bar, and a line for the interval."""
    cells = [(*row, _bar(score)) for row, score in zip(rows(report), report.scores, strict=True)]
    table = html_table(cells, head=(*columns(report), ""), right=numeric_columns(report))
    differences = "".join(f"<p>{escaped(line)}</p>" for line in sentences(report))
    folder = "" if report.folder is None else f'<p class="muted">Every answer: {escaped(str(report.folder))}</p>'
    return html_block(table, differences, notes_html(report.notes), folder, title=heading(report))


def _bar(score: EvalScore) -> Html:
    if not score.is_bounded:
        return Html("")
    value, low, high = (round(_WIDTH * min(1.0, max(0.0, part)), 1) for part in (score.value, score.low, score.high))
    colour = "#2563eb" if score.target == "tuned" else "#94a3b8"
    middle = _HEIGHT / 2
    return Html(
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="currentColor" opacity="0.08"/>'
        f'<rect width="{value}" height="{_HEIGHT}" fill="{colour}"/>'
        f'<line x1="{low}" x2="{high}" y1="{middle}" y2="{middle}" stroke="currentColor" stroke-width="2"/></svg>'
    )
