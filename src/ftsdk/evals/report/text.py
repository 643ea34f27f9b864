"""A report as text: tables that fit a terminal, and a sentence for each comparison. Also for `rich`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ftsdk._format import money, printable, text_table
from ftsdk.evals.results import EvalScore, PairedScore, shown_p
from ftsdk.evals.statistics.interval import INTERVAL_METHODS

if TYPE_CHECKING:
    from ftsdk.evals.report.eval_report import EvalReport
    from ftsdk.evals.report.parts import TargetCost

__all__ = [
    "TextTable",
    "cost_sentence",
    "heading",
    "sentences",
    "shown_difference",
    "shown_value",
    "tables",
    "to_rich",
    "to_text",
    "total_cost",
]

_WIDTH = 80
"""Of a terminal, in characters."""
_SHORTEST_NAME = 8
_MOST_SLICES = 12
_COUNTED = ("eval", "model", "n", "right", "share", "95% interval (Wilson)")
_GRADED = ("eval", "model", "n", "metric", "value", "95% interval", "method")


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table: its title, its head, its cells, and which columns hold numbers or names."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    right: frozenset[int]
    names: tuple[int, ...]
    """Columns whose cells are shortened where the table is too wide."""

    def fitted(self, width: int = _WIDTH) -> list[tuple[str, ...]]:
        """Return head and rows, with names shortened until the table is no wider than that, if that is possible."""
        cells = [list(self.head), *([printable(cell) for cell in row] for row in self.rows)]
        while True:
            widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            excess = sum(widths) + 2 * (len(widths) - 1) - width
            widest = max(self.names, key=widths.__getitem__)
            if excess <= 0 or widths[widest] <= _SHORTEST_NAME:
                return [tuple(row) for row in cells]
            others = [widths[name] for name in self.names if name != widest]
            least = max(_SHORTEST_NAME, widths[widest] - excess, *(min(one, widths[widest] - 1) for one in others))
            for row in cells[1:]:
                row[widest] = _shortened(row[widest], least)


def heading(report: EvalReport) -> str:
    """Return the title line."""
    return f"Evaluation of {report.title}" if report.title else "Evaluation"


def tables(report: EvalReport) -> list[TextTable]:
    """Return the tables: scores, then slices and costs if there are any."""
    is_counted = all(score.correct is not None and score.interval == "wilson" for score in report.scores)
    found = [
        TextTable(
            title="",
            head=_COUNTED if is_counted else _GRADED,
            rows=[_row(score, is_counted) for score in report.scores],
            right=frozenset({2, 3, 4} if is_counted else {2, 4}),
            names=(0, 1) if is_counted else (0, 1, 3),
        )
    ]
    if report.slices:
        shown = report.slices[: _MOST_SLICES * max(1, len({one.score.target for one in report.slices}))]
        rest = len(report.slices) - len(shown)
        found.append(
            TextTable(
                title="Slices" + (f" ({rest} more rows in the page and in report.json)" if rest else ""),
                head=("eval", "slice", "model", "n", "value", "95% interval"),
                rows=[
                    (
                        one.score.name,
                        f"{one.column} = {one.value}",
                        one.score.target,
                        f"{one.score.n}{' (small)' if one.is_small else ''}",
                        *shown_value(one.score),
                    )
                    for one in shown
                ],
                right=frozenset({3, 4}),
                names=(0, 1, 2),
            )
        )
    if report.slice_pairs:
        found.append(_slice_differences(report))
    if any(cost.usd is not None or cost.median_seconds is not None for cost in report.costs):
        found.append(
            TextTable(
                title="Quality against cost",
                head=("eval", "model", "value", "accepted", "per 1,000 accepted", "median time"),
                rows=[_cost_row(report, cost) for cost in report.costs],
                right=frozenset({2, 3, 4, 5}),
                names=(0, 1),
            )
        )
    return found


def _slice_differences(report: EvalReport) -> TextTable:
    others = len({one.pair.base for one in report.slice_pairs})
    shown = report.slice_pairs[: _MOST_SLICES * others]
    rest = len(report.slice_pairs) - len(shown)
    more = f"; {rest} more rows in the page and in report.json" if rest else ""
    unit = "points" if all(one.pair.is_bounded for one in shown) else "difference"
    return TextTable(
        title=f"{report.slice_pairs[0].pair.tuned} minus another, by slice (exploratory; p by Holm{more})",
        head=("eval", "slice", "minus", unit, "95% interval", "p"),
        rows=[
            (
                one.pair.name,
                f"{one.column} = {one.value}",
                one.pair.base,
                *shown_difference(one.pair),
                "-" if one.pair.p_holm is None else shown_p(one.pair.p_holm).removeprefix("= "),
            )
            for one in shown
        ],
        right=frozenset({3, 5}),
        names=(0, 1, 2),
    )


def sentences(report: EvalReport) -> list[str]:
    """Return the sentences on each comparison: difference, counts and p-value; confusions; then the verdict."""
    lines: list[str] = []
    for pair in report.pairs:
        by = "" if pair.metric == "mean" else f", {pair.metric}"
        lines.append(f"{pair.name}{by}: {pair.tuned} minus {pair.base} {_difference(pair)}: {pair.verdict}.")
        if pair.metric == "mean":
            lines.append(f"{pair.name}: {pair.counts}.")
        if pair.significance:
            lines.append(f"{pair.name}{by}: {pair.significance}.")
    compared = {pair.tuned for pair in report.pairs}
    for one in report.confusions:
        mistakes = [mistake for mistake in one.matrix.confusions(3) if mistake[2] > 1]
        if mistakes and (not compared or one.target in compared):
            named = ", ".join(f"{given!r} for {right!r} {count} times" for right, given, count in mistakes)
            lines.append(f"{one.name}: {one.target} answers {named}.")
    if spent := total_cost(report):
        lines.append(spent)
    lines += [f"{one}." for one in report.judge_costs]
    if report.verdict is not None:
        lines += str(report.verdict).splitlines()
    return lines


def shown_value(score: EvalScore) -> tuple[str, str]:
    """Return the value of a score and its interval: as percentages if it is bounded."""
    shown = "{:.1%}" if score.is_bounded else "{:.4g}"
    return shown.format(score.value), f"{shown.format(score.low)} to {shown.format(score.high)}"


def shown_difference(pair: PairedScore) -> tuple[str, str]:
    """Return a difference and its interval: in points, without the word, if the score is bounded."""
    factor, shown = (100, "{:+.1f}") if pair.is_bounded else (1, "{:+.4g}")
    value, low, high = (shown.format(factor * number) for number in (pair.difference, pair.low, pair.high))
    return value, f"{low} to {high}"


def cost_sentence(cost: TargetCost) -> str:
    """Return what a thousand accepted answers cost, or why that isn't known."""
    if cost.accepted is None:
        return "no scale"
    if cost.usd is None:
        return "unknown"
    return "none accepted" if cost.usd_per_1000_accepted is None else money(cost.usd_per_1000_accepted)


def total_cost(report: EvalReport) -> str:
    """Return what all answers of each target cost, in one sentence; empty if no cost is known."""
    usd: dict[str, Decimal] = {}
    for cost in report.costs:
        if cost.usd is not None:
            usd[cost.target] = usd.get(cost.target, Decimal(0)) + cost.usd
    if not usd:
        return ""
    each = ", ".join(f"{target} {money(amount)}" for target, amount in usd.items())
    return f"Total cost of the answers, stored ones included: {each}."


def to_text(report: EvalReport) -> str:
    """Return the whole report for a terminal without colours."""
    lines = [heading(report), ""]
    for table in tables(report):
        lines += [*([f"{table.title}:"] if table.title else []), _as_text(table), ""]
    lines += [*sentences(report), *(f"Note: {note}" for note in report.notes)]
    if report.folder is not None:
        lines.append(f"Every answer: {report.folder}")
    return printable("\n".join(lines).rstrip())


def to_rich(report: EvalReport) -> Any:
    """Return the whole report as something that `rich` prints."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [_as_rich(table, table.title or heading(report)) for table in tables(report)]
    for line in sentences(report):
        is_verdict = report.verdict is not None and line.startswith("Verdict:")
        colour = "green" if report.verdict is not None and report.verdict.is_ship else "red"
        parts.append(Text(printable(line), style=f"bold {colour}" if is_verdict else ""))
    parts += [Text(printable(f"Note: {note}"), style="dim") for note in report.notes]
    if report.folder is not None:
        parts.append(Text(printable(f"Every answer: {report.folder}"), style="dim"))
    return Group(*parts)


def _as_text(table: TextTable) -> str:
    return text_table(table.fitted(), right=table.right, has_rule=True)


def _as_rich(table: TextTable, title: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    head, *rows = table.fitted()
    made = Table(
        title=Text(printable(title)), title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold"
    )
    for column, name in enumerate(head):
        made.add_column(name, justify="right" if column in table.right else "left")
    for row in rows:
        # Names are printed verbatim, never read as markup.
        made.add_row(*map(Text, row))
    return made


def _row(score: EvalScore, is_counted: bool) -> tuple[str, ...]:
    value, interval = shown_value(score)
    if is_counted:
        return score.name, score.target, str(score.n), str(score.correct), value, interval
    method = INTERVAL_METHODS.get(score.interval, score.interval)
    return score.name, score.target, str(score.n), score.metric, value, interval, method


def _cost_row(report: EvalReport, cost: TargetCost) -> tuple[str, ...]:
    return (
        cost.name,
        cost.target,
        shown_value(report.score(cost.name, cost.target))[0],
        "-" if cost.accepted is None else f"{cost.accepted} of {cost.n}",
        cost_sentence(cost),
        "unknown" if cost.median_seconds is None else f"{cost.median_seconds:.2f} s",
    )


def _difference(pair: PairedScore) -> str:
    value, interval = shown_difference(pair)
    return f"{value}{' points' if pair.is_bounded else ''} (95% interval {interval})"


def _shortened(text: str, width: int) -> str:
    """Return text with its middle left out: names often differ at their ends."""
    if len(text) <= width:
        return text
    head = width // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
