"""A monitor's report as one page: figures, plots, drift with its evidence; nothing is loaded from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._format import Html, bold, escaped, html_block, html_page, html_table
from ftsdk.deploy.monitor.plots import acceptance_plot, latency_plot, requests_plot
from ftsdk.deploy.monitor.text import ANSWERS, HEADS, TIMES, cells, clock, counts, seconds, shown_cost, shown_share

if TYPE_CHECKING:
    from ftsdk.deploy.drift import DriftLook
    from ftsdk.deploy.monitor.advice import Advice
    from ftsdk.deploy.monitor.report import Example, MonitorReport

__all__ = ["to_block", "to_page"]

_STYLE = (
    ".ftsdk h4{font-size:1.05em;margin:1.4em 0 .3em}.ftsdk svg{max-width:100%;height:auto;display:block}"
    ".ftsdk .tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10em,1fr));gap:.7em;margin:1em 0}"
    ".ftsdk .tile{border:1px solid rgba(128,128,128,.3);border-radius:6px;padding:.5em .8em}"
    ".ftsdk .tile b{font-size:1.35em;display:block;font-variant-numeric:tabular-nums}"
    ".ftsdk .tile span{font-size:.9em;opacity:.75}"
    ".ftsdk .plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24em),1fr));gap:0 2em}"
    ".ftsdk .targets{display:flex;flex-wrap:wrap;gap:0 2.5em}.ftsdk .targets table{max-width:100%}"
    ".ftsdk .targets td:last-child,.ftsdk .targets th:last-child{padding-right:0}"
    "@media(max-width:30em){.ftsdk .targets td,.ftsdk .targets th{padding-right:.5em;font-size:.9em}}"
    ".ftsdk .note{border-left:5px solid #94a3b8;padding:.2em 0 .2em .9em;margin:1em 0}"
    ".ftsdk .note.good{border-color:#059669}.ftsdk .note.bad{border-color:#dc2626}"
    ".ftsdk .note.open{border-color:#d97706}"
    ".ftsdk .key{font-size:.9em;margin-right:1.2em}"
    ".ftsdk .key i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}"
    ".ftsdk .text td{overflow-wrap:anywhere}.ftsdk p,.ftsdk li{overflow-wrap:anywhere}"
)
_MOST_LOOKS = 8


def to_page(report: MonitorReport) -> str:
    """Return a whole HTML page."""
    return html_page(to_block(report), title=f"{report.route}: monitor")


def to_block(report: MonitorReport) -> Html:
    """Return the report as one element, for a notebook."""
    head = (
        f'<p class="muted">{escaped(clock(report.since))} to {escaped(clock(report.until))} UTC'
        f"{'' if report.whole.requests else '; no requests yet'}</p>"
    )
    return html_block(
        f"<style>{_STYLE}</style>",
        head,
        _tiles(report),
        _drift_note(report),
        _promise_note(report),
        '<div class="plots">',
        *(f"<div>{plot(report.moments)}</div>" for plot in (requests_plot, latency_plot, acceptance_plot)),
        "</div>",
        "<h4>Targets</h4>",
        f'<div class="targets">{_targets(report, ANSWERS)}{_targets(report, TIMES)}</div>',
        "<h4>Errors and fallbacks</h4>",
        html_table(
            [("Errors", counts(report.whole.errors)), ("Fallbacks", counts(report.whole.fallbacks))], has_row_heads=True
        ),
        _looks(report),
        _switches(report),
        title=f"{report.route}: monitor",
    )


def _tiles(report: MonitorReport) -> str:
    whole = report.whole
    fallbacks = sum(whole.fallbacks.values())
    cost = whole.usd_per_1k_accepted
    first = f"first token, median (p95 {seconds(whole.first_p95_s)})"
    tiles = (
        (f"{whole.requests:,}", "requests"),
        (seconds(whole.p50_s), f"answer, median (p95 {seconds(whole.p95_s)})"),
        *([(seconds(whole.first_p50_s), first)] if whole.first_p50_s is not None else []),
        (_percent(whole.failed, whole.requests), f"failed ({whole.failed:,})"),
        (_percent(fallbacks, whole.requests), f"fell back ({fallbacks:,})"),
        (shown_share(whole).split(" (")[0], f"accepted of {whole.judged:,} judged"),
        ("-" if cost is None else f"${cost[0]:,.2f}", "per 1,000 accepted"),
        (f"{(whole.input_tokens + whole.output_tokens) / 1000:,.0f}k", "tokens"),
    )
    shown = (f'<div class="tile">{bold(value)}<span>{escaped(text)}</span></div>' for value, text in tiles)
    return f'<div class="tiles">{"".join(shown)}</div>'


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _drift_note(report: MonitorReport) -> str:
    if not report.advice:
        kind = "good" if report.looks else ""
        return f'<div class="note {kind}"><p>{escaped(report.drift_sentence)}</p></div>'
    return "".join(_advice_note(report, one) for one in report.advice)


def _advice_note(report: MonitorReport, advice: Advice) -> str:
    look = advice.look
    evidence = html_table(
        [
            (
                check.what,
                f"{check.measure} {check.value:.3g} (matters from {check.limit:g}), p {check.p_value:.1g}",
                "; ".join(f"{name}: {was:.0%} → {now:.0%}" for name, was, now in check.moved),
            )
            for check in look.alarms
        ],
        has_row_heads=True,
    )
    examples = ""
    if advice is report.advice[0] and report.examples:
        rows = [
            (
                _example_cell(one),
                escaped((one.answer or "")[:120]),
            )
            for one in report.examples
        ]
        examples = f"<p>Requests that show it:</p>{html_table(rows, head=('prompt', 'answer'))}"
    when = f"{look.rows:,} answers from {clock(look.first_at)} to {clock(look.last_at)} UTC"
    kind = "bad" if advice.retrain else "open"
    return (
        f'<div class="note text {kind}"><p>{bold(advice.sentence)}</p><p class="muted">{escaped(when)}</p>'
        f"{evidence}{examples}</div>"
    )


def _example_cell(example: Example) -> Html:
    name = example.id if example.prompt is not None else f"{example.id} (text not kept)"
    text = f"{escaped(example.prompt[:300])}<br>" if example.prompt else ""
    return Html(f'{text}<span class="muted">{escaped(name)}</span>')


def _promise_note(report: MonitorReport) -> str:
    if report.promise is None:
        return f'<p class="muted">Cost: {escaped(shown_cost(report.whole))}.</p>'
    sentence = report.promise_sentence
    kind = "bad" if "not kept" in sentence else "good" if ": kept." in sentence else ""
    return f'<div class="note {kind}"><p>{escaped(sentence)}</p></div>'


def _targets(report: MonitorReport, columns: tuple[int, ...]) -> Html:
    rows = [*(cells(name, one) for name, one in report.arms.items()), cells("all", report.whole)]
    return html_table(
        [tuple(escaped(row[n]) for n in columns) for row in rows],
        head=[HEADS[n] for n in columns],
        right=range(1, len(columns)),
        has_row_heads=True,
    )


def _looks(report: MonitorReport) -> str:
    if not report.looks:
        return ""
    rows = [_look_row(look) for look in reversed(report.looks[-_MOST_LOOKS:])]
    rest = f"{report.waiting:,} of the {report.window:,} answers of the next window are there." if report.window else ""
    unknown = f" Slices without enough training data: {counts(report.unknown_slices)}." if report.unknown_slices else ""
    return (
        "<h4>Drift, window by window</h4>"
        f"{html_table(rows, head=('until, UTC', 'slice', 'answers', 'checks'))}"
        f'<p class="muted">{escaped(rest + unknown)}</p>'
    )


def _look_row(look: DriftLook) -> tuple[str, ...]:
    checks = ", ".join(f"{one.what} {one.value:.2g}{' (drift)' if one.is_alarm else ''}" for one in look.checks)
    return (clock(look.last_at), escaped(look.slice or "all"), f"{look.rows:,}", escaped(checks))


def _switches(report: MonitorReport) -> str:
    if not report.switches:
        return ""
    rows = [
        (clock(one.at), escaped(one.sentence.replace("->", "→")), escaped(one.reason)) for one in report.switches[:10]
    ]
    return f"<h4>Switches</h4>{html_table(rows, head=('UTC', 'change', 'reason'))}"
