"""A report as a page: plots as inline SVG, findings with their examples, nothing loaded from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._format import Html, bold, escaped, html_block, html_list, html_page, html_table
from ftsdk.data.report.plots import class_bars, length_histogram
from ftsdk.data.report.text import facts, place, size, verdict

if TYPE_CHECKING:
    from ftsdk.data.report.data_report import DataReport
    from ftsdk.data.report.finding import Finding

__all__ = ["to_block", "to_page"]

_BLOCK_STYLE = (
    ".ftsdk .finding{border-left:4px solid #94a3b8;padding:.1em 0 .3em .9em;margin:1.2em 0}"
    ".ftsdk .error{border-color:#dc2626}.ftsdk .warning{border-color:#d97706}"
    ".ftsdk .badge{font-size:.8em;font-weight:600;text-transform:uppercase;letter-spacing:.04em;margin-right:.5em}"
    ".ftsdk .error .badge{color:#dc2626}.ftsdk .warning .badge{color:#d97706}"
    ".ftsdk .finding table{width:100%}.ftsdk td{overflow-wrap:anywhere}"
    ".ftsdk td:first-child,.ftsdk th{white-space:nowrap}.ftsdk .finding td:first-child{width:1%;padding-right:1em}"
    ".ftsdk svg{max-width:100%;height:auto;display:block}.ftsdk h4{font-size:1em;margin:1.2em 0 .3em}"
    ".ftsdk code{background:rgba(128,128,128,.15);padding:.1em .35em;border-radius:3px;overflow-wrap:anywhere}"
)


def to_page(report: DataReport) -> str:
    """Return a whole HTML page."""
    return html_page(to_block(report), title=f"{report.name}: data report")


def to_block(report: DataReport) -> Html:
    """Return the report as one element, for a notebook."""
    parts: list[str] = [
        f"<style>{_BLOCK_STYLE}</style>",
        f"<p>{bold(verdict(report))}</p>",
        html_table(facts(report), has_row_heads=True),
        length_histogram(report.lengths),
        class_bars(report.classes),
        *map(_finding, report.findings),
    ]
    if report.not_checked:
        parts += ["<h4>Not checked</h4>", html_list(report.not_checked)]
    return html_block(*parts, title=report.name)


def _finding(finding: Finding) -> str:
    head = (
        f'<span class="badge">{finding.severity}</span><b>{escaped(finding.title)}</b>: {escaped(size(finding))} '
        f'<span class="muted">{finding.code}</span>'
    )
    detail = f"<p>{escaped(finding.detail)}</p>" if finding.detail else ""
    fix = f"<p>To fix it: <code>{escaped(finding.fix)}</code></p>" if finding.fix else ""
    examples = html_table((escaped(place(example)), escaped(example.excerpt)) for example in finding.examples)
    why = f"<p>{escaped(finding.why)}</p>"
    return f'<div class="finding {finding.severity}"><p>{head}</p>{why}{detail}{examples}{fix}</div>'
