"""A report as HTML, for notebooks and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._format import escaped, html_table, notes_html
from ftsdk.evals.report_text import columns, heading, numeric_columns, rows, sentences

if TYPE_CHECKING:
    from ftsdk.evals.report import EvalReport

__all__ = ["to_html"]


def to_html(report: EvalReport) -> str:
    """Return the report as a self-contained piece of HTML."""
    table = html_table(rows(report), head=columns(report), right=numeric_columns(report))
    differences = "".join(f"<p>{escaped(line)}</p>" for line in sentences(report))
    return (
        "<div "
        f'class="ftsdk-eval"><h3>{escaped(heading(report))}</h3>{table}{differences}{notes_html(report.notes)}</div>'
    )
