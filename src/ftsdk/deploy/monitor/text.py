"""A monitor's report for a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ftsdk._format import money, printable, text_table

if TYPE_CHECKING:
    from ftsdk.deploy.monitor.figures import Figures
    from ftsdk.deploy.monitor.report import MonitorReport

__all__ = ["ANSWERS", "HEADS", "TIMES", "cells", "clock", "counts", "seconds", "shown_cost", "shown_share", "to_text"]

HEADS = ("target", "requests", "p50", "p95", "p99", "first p50", "p95", "failed", "rejected", "accepted", "cost")
TIMES, ANSWERS = (0, 2, 3, 4, 5, 6), (0, 1, 7, 8, 9, 10)
"""Which columns each of two tables has, for a terminal of 80 characters and for a phone."""


def to_text(report: MonitorReport) -> str:
    """Return the report as text."""
    whole = report.whole
    rows = [HEADS, *(cells(name, one) for name, one in report.arms.items()), cells("all", whole)]
    answers, times = ([tuple(row[n] for n in columns) for row in rows] for columns in (ANSWERS, TIMES))
    many = f"{whole.requests:,} request{'' if whole.requests == 1 else 's'}"
    lines = [
        f"{report.route}: {many} from {clock(report.since)} to {clock(report.until)} UTC",
        "",
        text_table(answers, right=range(1, len(ANSWERS)), has_rule=True),
        "",
        text_table(times, right=range(1, len(TIMES)), has_rule=True),
        "",
        f"Tokens     {whole.input_tokens:,} in, {whole.output_tokens:,} out",
        f"Errors     {counts(whole.errors)}",
        f"Fallbacks  {counts(whole.fallbacks)}",
        f"Cost       {shown_cost(whole)}",
    ]
    if report.promise is not None:
        lines.append(f"           {report.promise_sentence}")
    lines.append(f"Drift      {report.drift_sentence}")
    for advice in report.advice:
        if advice is not report.advice[0]:
            lines.append(f"           {advice.sentence}")
        lines += [f"           {check}" for check in advice.look.alarms]
    if report.examples:
        lines.append("           requests that show it:")
    lines += [
        f"           - {printable(example.id, 100)}" + ("" if example.prompt is None else f": {example.prompt[:100]!r}")
        for example in report.examples
    ]
    if report.unknown_slices:
        lines.append(f"           slices without training data: {counts(report.unknown_slices)}")
    lines += [
        f"Switch     {clock(one.at)}: {one.sentence}{': ' + one.reason if one.reason else ''}"
        for one in report.switches[:5]
    ]
    return "\n".join(lines)


def cells(name: str, figures: Figures) -> tuple[str, ...]:
    """Return the row of a target."""
    return (
        name,
        f"{figures.requests:,}",
        seconds(figures.p50_s),
        seconds(figures.p95_s),
        seconds(figures.p99_s),
        seconds(figures.first_p50_s),
        seconds(figures.first_p95_s),
        f"{figures.failed:,}",
        f"{figures.rejected:,}",
        shown_share(figures),
        money(figures.cost_usd) if figures.unpriced < figures.requests or figures.cost_usd else "unknown",
    )


def seconds(value: float | None) -> str:
    """Return a time in seconds or milliseconds; a dash for none."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.1f} s"


def shown_share(figures: Figures) -> str:
    """Return the share of accepted answers with its interval, or that nothing was judged."""
    if figures.acceptance is None:
        return "not judged"
    share, low, high = figures.acceptance
    return f"{share:.1%} ({low:.0%} to {high:.0%})"


def shown_cost(figures: Figures) -> str:
    """Return the cost of a thousand accepted answers, or why it isn't known."""
    if not figures.answered:
        return "no answers"
    if figures.usd_per_1k_accepted is None:
        if figures.unpriced:
            return (
                f"the price of {figures.unpriced:,} requests isn't known (set price= of the targets, or --usd-per-hour)"
            )
        each = money(1000 * figures.cost_usd / figures.answered)
        return f"{each} per 1,000 answers; none was {'judged' if not figures.judged else 'accepted'}"
    value, low, high = figures.usd_per_1k_accepted
    return (
        f"{money(value)} per 1,000 accepted answers ({money(low)} to {money(high)}; {figures.judged:,} of "
        f"{figures.answered:,} judged)"
    )


def counts(found: dict[str, int]) -> str:
    """Return words with how often they occurred."""
    return ", ".join(f"{word} {count:,}" for word, count in found.items()) or "none"


def clock(at: float) -> str:
    """Return a time in UTC, to the minute; a dash for one that no calendar has."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))
    except (ValueError, OverflowError, OSError):
        return "-"
