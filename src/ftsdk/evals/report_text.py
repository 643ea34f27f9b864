"""A report as text: a table, then a sentence for each comparison. Also for `rich`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftsdk._format import text_table
from ftsdk.evals.results import EvalScore, PairedScore

if TYPE_CHECKING:
    from ftsdk.evals.report import EvalReport

__all__ = ["columns", "heading", "numeric_columns", "rows", "sentences", "to_rich", "to_text"]

_COUNTED = ("eval", "model", "n", "right", "share", "95 % interval (Wilson)")
_GRADED = ("eval", "model", "n", "metric", "value", "95 % interval", "method")


def heading(report: EvalReport) -> str:
    """Return the title line."""
    return f"Evaluation of {report.title}" if report.title else "Evaluation"


def columns(report: EvalReport) -> tuple[str, ...]:
    """Return the head of the table: counts where every eval has right and wrong answers only, else values."""
    return _COUNTED if _is_counted(report) else _GRADED


def numeric_columns(report: EvalReport) -> frozenset[int]:
    """Return which columns hold numbers."""
    return frozenset({2, 3, 4} if _is_counted(report) else {2, 4})


def rows(report: EvalReport) -> list[tuple[str, ...]]:
    """Return the cells of the table, below its head."""
    is_counted = _is_counted(report)
    return [_row(score, is_counted) for score in report.scores]


def sentences(report: EvalReport) -> list[str]:
    """Return the sentences on each comparison: difference, counts and p-value; then the verdict."""
    lines: list[str] = []
    for pair in report.pairs:
        by = "" if pair.metric == "mean" else f", {pair.metric}"
        lines.append(f"{pair.name}{by}: {pair.tuned} minus {pair.base} {_difference(pair)}: {pair.verdict}.")
        if pair.metric == "mean":
            lines.append(f"{pair.name}: {pair.counts}.")
        if pair.significance:
            lines.append(f"{pair.name}{by}: {pair.significance}.")
    if report.verdict is not None:
        lines += str(report.verdict).splitlines()
    return lines


def to_text(report: EvalReport) -> str:
    """Return the whole report for a terminal without colours."""
    table = text_table([columns(report), *rows(report)], right=numeric_columns(report), has_rule=True)
    lines = [heading(report), "", table, "", *sentences(report), *(f"Note: {note}" for note in report.notes)]
    if report.folder is not None:
        lines.append(f"Every answer: {report.folder}")
    return "\n".join(lines).rstrip()


def to_rich(report: EvalReport) -> Any:
    """Return the whole report as something that `rich` prints."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title=heading(report), title_justify="left")
    for column, name in enumerate(columns(report)):
        table.add_column(name, justify="right" if column in numeric_columns(report) else "left")
    for row in rows(report):
        # Names are printed verbatim, never read as markup.
        table.add_row(*(Text(cell) for cell in row))
    after = [
        *(Text(line) for line in sentences(report)),
        *(Text(f"Note: {note}", style="dim") for note in report.notes),
    ]
    where = [Text(f"Every answer: {report.folder}", style="dim")] if report.folder is not None else []
    return Group(table, *after, *where)


def _is_counted(report: EvalReport) -> bool:
    return all(score.correct is not None and score.interval == "wilson" for score in report.scores)


def _row(score: EvalScore, is_counted: bool) -> tuple[str, ...]:
    shown = "{:.1%}" if score.is_bounded else "{:.4g}"
    value, interval = shown.format(score.value), f"{shown.format(score.low)} to {shown.format(score.high)}"
    if is_counted:
        return score.name, score.target, str(score.n), str(score.correct), value, interval
    return score.name, score.target, str(score.n), score.metric, value, interval, score.interval


def _difference(pair: PairedScore) -> str:
    if pair.is_bounded:
        return f"{100 * pair.difference:+.1f} points (95 % interval {100 * pair.low:+.1f} to {100 * pair.high:+.1f})"
    return f"{pair.difference:+.4g} (95 % interval {pair.low:+.4g} to {pair.high:+.4g})"
