"""A report as a page: plots as inline SVG, outputs side by side, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ftsdk._format import Html, escaped, html_block, html_list, html_page, html_table, notes_html
from ftsdk._svg import BAR, MUTED
from ftsdk.evals.report.html_examples import EXAMPLE_STYLE, examples_html
from ftsdk.evals.report.parts import LEAST_PAIRED
from ftsdk.evals.report.plots import CostPoint, cost_plot, domain_of, heat, interval_plot
from ftsdk.evals.report.text import cost_sentence, heading, shown_difference, shown_value, total_cost
from ftsdk.evals.results import shown_p

if TYPE_CHECKING:
    from ftsdk.evals.gate import Verdict
    from ftsdk.evals.report.eval_report import EvalReport
    from ftsdk.evals.report.parts import TargetConfusion
    from ftsdk.evals.results import EvalScore, PairedScore

__all__ = ["to_block", "to_page"]

_LONGEST_LABEL = 18
_STYLE = (
    ".ftsdk h4{font-size:1.05em;margin:1.8em 0 .3em}.ftsdk h5{font-size:1em;margin:1em 0 .2em}"
    ".ftsdk p,.ftsdk td,.ftsdk h3,.ftsdk h4,.ftsdk h5,.ftsdk li{overflow-wrap:anywhere}"
    ".ftsdk svg{max-width:100%;height:auto;display:block}"
    ".ftsdk .scores{width:100%;table-layout:fixed}.ftsdk .scores td{padding-right:.6em}"
    ".ftsdk .scores td:nth-child(1){width:27%}.ftsdk .scores td:nth-child(2){width:36%}"
    ".ftsdk svg.strip{width:100%;height:20px}.ftsdk .strip line{vector-effect:non-scaling-stroke}"
    ".ftsdk .strip .interval{stroke-width:2px}.ftsdk .strip .value{stroke-width:5px}"
    ".ftsdk .strip .axis{stroke:currentColor;stroke-width:1px;opacity:.5}"
    ".ftsdk .verdict{border-left:5px solid #d97706;padding:.2em 0 .2em .9em;margin:1em 0}"
    ".ftsdk .verdict.ship{border-color:#059669}.ftsdk .verdict.stop{border-color:#dc2626}"
    ".ftsdk .verdict b{font-size:1.15em}"
    ".ftsdk .wide{overflow-x:auto}.ftsdk .wide td{overflow-wrap:normal}"
    ".ftsdk .matrix td{text-align:right;padding:.3em .6em}"
    ".ftsdk .matrix th{padding:.3em .6em}.ftsdk .matrix{overflow-wrap:normal}"
    ".ftsdk details{margin:.6em 0}.ftsdk summary{cursor:pointer}"
)


def to_page(report: EvalReport) -> str:
    """Return a whole HTML page."""
    return html_page(to_block(report), title=heading(report))


def to_block(report: EvalReport) -> Html:
    """Return the report as one element, for a notebook."""
    parts: list[str] = [f"<style>{_STYLE}{EXAMPLE_STYLE}</style>"]
    subjects = {pair.tuned for pair in report.pairs} or {score.target for score in report.scores}
    if report.verdict is not None:
        parts.append(_verdict(report.verdict))
    for name in dict.fromkeys(score.name for score in report.scores):
        parts.append(_eval_html(report, name))
    parts += [
        _costs(report),
        _slices(report),
        *(_confusion(one, is_open=one.target in subjects) for one in report.confusions),
        examples_html(
            report.lists, report.examples, has_scale={one.name for one in report.costs if one.accepted is not None}
        ),
        "<h4>Notes</h4>" if report.notes else "",
        notes_html(report.notes),
    ]
    if report.folder is not None:
        parts.append(f'<p class="muted">Every answer: {escaped(str(report.folder))}</p>')
    return html_block(*parts, title=heading(report))


def _verdict(verdict: Verdict) -> str:
    kind = {"ship": "ship", "don't ship": "stop"}.get(verdict.decision, "open")
    settle = f"<p>What would settle it:</p>{_plain_list(verdict.to_settle)}" if verdict.to_settle else ""
    return (
        f'<div class="verdict {kind}"><p><b>Verdict: {escaped(verdict.decision)}</b></p>'
        f"{_plain_list(verdict.reasons)}{settle}</div>"
    )


def _plain_list(lines: Sequence[str]) -> Html:
    return html_list(map(escaped, lines))


def _eval_html(report: EvalReport, name: str) -> str:
    """Return the scores of one eval, the differences, and the sentences on them."""
    scores = [score for score in report.scores if score.name == name]
    pairs = [pair for pair in report.pairs if pair.name == name]
    subject = pairs[0].tuned if pairs else scores[0].target
    rows: list[str] = []
    for metric in dict.fromkeys(score.metric for score in scores):
        chosen = [score for score in scores if score.metric == metric]
        domain = domain_of(
            [end for one in chosen for end in (one.value, one.low, one.high)], is_bounded=chosen[0].is_bounded
        )
        rows += [_score_row(score, domain, is_subject=score.target == subject) for score in chosen]
    differences = [pair for pair in pairs if pair.metric == pairs[0].metric]
    if differences:
        ends = [end for one in differences for end in (one.difference, one.low, one.high)]
        domain = domain_of(ends, is_bounded=differences[0].is_bounded, has_sign=True)
        rows += [_difference_row(pair, domain) for pair in differences]
    head = f"<h4>{escaped(name)}: {scores[0].n:,} examples</h4>"
    lines = "".join(_pair_html(pair) for pair in differences)
    rest = "".join(_pair_html(pair, is_headline=False) for pair in pairs if pair not in differences)
    others = f"<details><summary>By the other metrics</summary>{rest}</details>" if rest else ""
    return f"{head}<table class='scores'>{''.join(rows)}</table>{lines}{others}"


def _pair_html(pair: PairedScore, *, is_headline: bool = True) -> str:
    by = "" if is_headline else f", {pair.metric}"
    details = [pair.counts if pair.metric == "mean" else "", pair.significance, pair.reach]
    sentence = "; ".join(filter(None, details))
    return (
        f"<p><b>{escaped(pair.tuned)} against {escaped(pair.base)}{escaped(by)}:</b> {escaped(pair.verdict)}. "
        f'<span class="muted">{escaped(sentence[:1].upper() + sentence[1:])}.</span></p>'
    )


def _score_row(score: EvalScore, domain: tuple[float, float], *, is_subject: bool) -> str:
    value, interval = shown_value(score)
    by = "" if score.metric == "mean" else f'<br><span class="muted">{escaped(score.metric)}</span>'
    errors = f'<br><span class="muted">{score.errors} without an answer</span>' if score.errors and not by else ""
    plot = interval_plot(
        score.value,
        score.low,
        score.high,
        domain,
        colour=BAR if is_subject else MUTED,
        label=f"{value}, 95% interval {interval}",
    )
    right = "" if score.correct is None else f" ({score.correct} of {score.n})"
    return _row(f"<b>{escaped(score.target)}</b>{by}{errors}", f"{value}{right}", f"{interval}", plot)


def _difference_row(pair: PairedScore, domain: tuple[float, float], *, p_holm: bool = False) -> str:
    value, interval = shown_difference(pair)
    unit = " points" if pair.is_bounded else ""
    plot = interval_plot(pair.difference, pair.low, pair.high, domain, label=f"{value}{unit}, 95% interval {interval}")
    p = (
        "; " + f"p {shown_p(pair.p_holm)}".replace(" ", "\N{NO-BREAK SPACE}")
        if p_holm and pair.p_holm is not None
        else ""
    )
    return _row(f"{escaped(pair.tuned)} minus {escaped(pair.base)}", f"{value}{unit}", f"{interval}{p}", plot)


def _row(name: str, value: str, interval: str, plot: Html) -> str:
    cell = f'{escaped(value)}<br><span class="muted">{escaped(interval)}</span>'
    return f"<tr><td>{name}</td><td>{cell}</td><td>{plot}</td></tr>"


def _costs(report: EvalReport) -> str:
    if not report.costs:
        return ""
    parts: list[str] = ["<h4>Quality against cost</h4>"]
    rows: list[tuple[str, ...]] = []
    for cost in report.costs:
        per_answer = "unknown" if cost.median_seconds is None else f"{cost.median_seconds:.2f} s"
        rows.append(
            (
                escaped(cost.target if len({one.name for one in report.costs}) == 1 else f"{cost.name}: {cost.target}"),
                escaped(shown_value(report.score(cost.name, cost.target))[0]),
                escaped("no scale" if cost.accepted is None else f"{cost.accepted} of {cost.n}"),
                escaped(cost_sentence(cost)),
                per_answer,
            )
        )
    table = html_table(rows, head=("", "value", "accepted", "per 1,000 accepted", "median time"), right={1, 2, 3, 4})
    parts.append(f'<div class="wide">{table}</div>')
    at_least = report.costs[0].accept_at
    accepted = "it scored 1" if at_least == 1 else f"it scored at least {at_least:g}"
    parts.append(f'<p class="muted">An answer is accepted if {accepted}.{_basis(report)}</p>')
    if spent := total_cost(report):
        parts.append(f"<p>{escaped(spent)}</p>")
    parts += [f"<p>{escaped(str(one))}.</p>" for one in report.judge_costs]
    for name, found in groupby(report.costs, key=lambda cost: cost.name):
        points: list[CostPoint] = []
        for cost in found:
            score = report.score(name, cost.target)
            if cost.usd_per_1000_accepted is not None:
                usd = float(cost.usd_per_1000_accepted)
                points.append(CostPoint(cost.target, usd, score.value, score.low, score.high))
        is_bounded = report.score(name, report.costs[0].target).is_bounded
        parts.append(cost_plot(points, title=f"{name}: quality against cost", is_bounded=is_bounded))
    return "".join(parts)


def _basis(report: EvalReport) -> str:
    hourly = [cost.target for cost in report.costs if cost.basis == "hourly"]
    unknown = [cost.target for cost in report.costs if cost.usd is None]
    return "".join(
        escaped(f" {text}: {', '.join(dict.fromkeys(names))}.")
        for text, names in (
            ("By the seconds of each answer, at the price of an hour", hourly),
            ("Cost unknown (pass usd_per_hour, or a price for an endpoint)", unknown),
        )
        if names
    )


def _slices(report: EvalReport) -> str:
    parts: list[str] = []
    for (name, column), found in groupby(report.slices, key=lambda one: (one.score.name, one.column)):
        rows: list[str] = []
        slices = list(found)
        ends = [end for one in slices for end in (one.score.value, one.score.low, one.score.high)]
        domain = domain_of(ends, is_bounded=slices[0].score.is_bounded)
        subject = report.pairs[0].tuned if report.pairs else slices[0].score.target
        pairs = [one for one in report.slice_pairs if (one.pair.name, one.column) == (name, column)]
        ends = [end for one in pairs for end in (one.pair.difference, one.pair.low, one.pair.high)]
        signed = domain_of(ends, is_bounded=pairs[0].pair.is_bounded, has_sign=True) if pairs else (0.0, 0.0)
        for value, of_value in groupby(slices, key=lambda one: one.value):
            for position, one in enumerate(of_value):
                shown, interval = shown_value(one.score)
                plot = interval_plot(
                    one.score.value,
                    one.score.low,
                    one.score.high,
                    domain,
                    colour=BAR if one.score.target == subject else MUTED,
                    label=f"{shown}, 95% interval {interval}",
                )
                size = f"n = {one.score.n}{', small' if one.is_small else ''}"
                head = f'<b>{escaped(value)}</b> <span class="muted">{size}</span><br>' if position == 0 else ""
                rows.append(_row(f"{head}{escaped(one.score.target)}", shown, interval, plot))
            rows += [_difference_row(one.pair, signed, p_holm=True) for one in pairs if one.value == value]
        parts.append(f"<h4>{escaped(name)} by {escaped(column)}</h4><table class='scores'>{''.join(rows)}</table>")
        if pairs:
            parts.append(
                '<p class="muted">Differences by slice are exploratory. Their p-values allow for all '
                f"{len(report.slice_pairs)} of them (Holm). Slices with fewer than {LEAST_PAIRED} examples have none."
                "</p>"
            )
    return "".join(parts)


def _confusion(one: TargetConfusion, *, is_open: bool) -> str:
    matrix = one.matrix
    has_none = any(matrix.unnamed)
    heads = [_label(label) for label in matrix.labels] + (["<th>(no class)</th>"] if has_none else [])
    rows: list[str] = []
    for position, label in enumerate(matrix.labels):
        counts = [*matrix.counts[position], *([matrix.unnamed[position]] if has_none else [])]
        total = sum(matrix.counts[position]) + matrix.unnamed[position]
        cells = "".join(
            f"<td style='{heat(count / total if total else 0.0, is_right=column == position)}'>{count or ''}</td>"
            for column, count in enumerate(counts)
        )
        rows.append(f"<tr>{_label(label)}{cells}</tr>")
    classes = html_table(
        [
            (escaped(c.label), f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}", f"{c.support}")
            for c in matrix.classes
        ],
        head=("class", "precision", "recall", "F1", "n"),
        right={1, 2, 3, 4},
    )
    title = f"{one.name}: confusion matrix of {one.target}"
    table = (
        f"<div class='wide'><table class='matrix'><tr><th class='muted'>reference \\ answer</th>{''.join(heads)}</tr>"
        f"{''.join(rows)}</table></div><details><summary>Precision, recall and F1 of each class</summary>"
        f"<div class='wide'>{classes}</div></details>"
    )
    if is_open:
        return f"<h4>{escaped(title)}</h4>{table}"
    return f"<details><summary>{escaped(title)}</summary>{table}</details>"


def _label(label: str) -> str:
    short = label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
    return f'<th title="{escaped(label)}" style="text-align:left">{escaped(" ".join(short.split()) or "(empty)")}</th>'
