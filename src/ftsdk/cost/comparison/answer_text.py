"""The answer of a crossover in words, as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from ftsdk.protocol.fragments import linked

if TYPE_CHECKING:
    from ftsdk.cost.comparison.answer import CrossoverAnswer, OptionCost, Solved

__all__ = ["answer_html", "answer_text", "money", "verdict", "volume"]


def money(amount: object) -> str:
    """Dollars with as many digits as help: $1,234, $12.30, $0.70, $0.0675."""
    value = float(str(amount))
    sign, size = "-" if value < 0 else "", abs(value)
    if 0 < size < 1:
        whole, cents = f"{Decimal(f'{size:.3g}'):f}".split(".")
        return f"{sign}${whole}.{cents.rstrip('0').ljust(2, '0')}"
    return f"{sign}${size:,.{0 if size >= 1000 else 2}f}"


def volume(requests: float) -> str:
    """A volume in three digits: 612k, 1.78M; beyond what has a letter that everybody knows, 1e+15."""
    if requests >= 999.5e12:
        return f"{requests:.3g}"
    # From the point where three digits round up to the next letter.
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if requests >= 0.9995 * size:
            scaled = requests / size
            return f"{scaled:.{0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2}f}{letter}"
    return f"{requests:.0f}"


def verdict(answer: CrossoverAnswer) -> str:
    """One sentence for the top of a slide."""
    requests = answer.workload.requests_per_month or 0
    api, own = answer.option("api"), answer.option("self-hosted")
    cheapest = min(answer.options, key=lambda option: option.usd_per_month)
    saving = float(answer.saving_usd_per_month)
    first = "self-hosting" if saving > 0 else "the API"
    text = (
        f"At {volume(requests)} requests a month {first} is cheaper: {money(own.usd_per_month)} self-hosted against "
        f"{money(api.usd_per_month)} for {api.label}; P(self-hosting is cheaper) = {answer.likelihood.p_self_hosted_cheaper:.0%}"
    )
    if cheapest not in (api, own):
        text += f". Cheapest of all: {cheapest.name} at {money(cheapest.usd_per_month)}"
    return text + "."


def answer_text(answer: CrossoverAnswer) -> str:
    """Write everything as plain text."""
    w = answer.workload
    traffic = (
        f"{volume(w.requests_per_month or 0)} requests a month, {w.input_tokens:g} tokens in and {w.output_tokens:g} out, "
        f"peak {w.peak_to_mean:g} x mean"
    )
    parts = [verdict(answer), f"\n{traffic}\n"]
    for option in answer.options:
        parts.append(_heading(option))
        lines = [(f"  {line.label}", money(line.usd), line.detail, _cited(line.source, line.as_of)) for line in option.lines]
        lines.append(("  a month", money(option.usd_per_month), f"{money(option.usd_per_1k_accepted)} per 1,000 accepted answers", option.note))
        parts.append(_table(lines))
        if option.capacity is not None:
            parts.append(f"  one replica: {option.capacity}")
    parts.append("")
    parts += [f"{heading}: {text}" for heading, text in _findings(answer)]
    parts.append("\nWhat matters (monthly saving of self-hosting, from each input's 10th to its 90th percentile):")
    parts.append(
        _table(
            [
                (
                    f"  {swing.input}",
                    f"{_short(swing.low)} to {_short(swing.high)}",
                    f"{money(swing.saving_at_low_usd)} to {money(swing.saving_at_high_usd)}",
                )
                for swing in answer.swings
            ]
        )
    )
    parts.append("\nDistributions (10th percentile / middle / 90th, or the corners of a triangle):")
    parts += [f"  {one}" for one in answer.distributions]
    parts.append("\nAssumed, since it wasn't given:")
    parts += [f"  {text}" for text in answer.assumptions]
    if answer.notes:
        parts.append("")
        parts += [f"Note: {note}" for note in answer.notes]
    return "\n".join(parts)


def answer_html(answer: CrossoverAnswer) -> str:
    """Write everything as an HTML fragment."""
    rows = "".join(_option_rows(option) for option in answer.options)
    findings = "".join(_row("th", heading) + f"<td style='text-align:left'>{html.escape(text)}</td></tr>" for heading, text in _findings(answer))
    swings = "".join(
        f"<tr><td>{html.escape(swing.input)}</td><td>{_short(swing.low)} to {_short(swing.high)}</td>"
        f"<td>{money(swing.saving_at_low_usd)} to {money(swing.saving_at_high_usd)}</td></tr>"
        for swing in answer.swings
    )
    stated = "".join(f"<li>{html.escape(str(one))}</li>" for one in (*answer.distributions, *answer.assumptions))
    notes = "".join(f"<p>Note: {html.escape(note)}</p>" for note in answer.notes)
    return (
        f"<p><b>{html.escape(verdict(answer))}</b></p>"
        f"<table><tr><th>Line</th><th>US dollars a month</th><th></th><th>Source</th></tr>{rows}</table>"
        f"<table>{findings}</table>"
        f"<table><tr><th>What matters</th><th>10th to 90th percentile</th><th>monthly saving of self-hosting</th></tr>{swings}</table>"
        f"<details><summary>Distributions and assumptions</summary><ul>{stated}</ul></details>{notes}"
    )


def _findings(answer: CrossoverAnswer) -> list[tuple[str, str]]:
    odds = answer.likelihood
    low, middle, high = odds.saving_usd_per_month
    saves, less, sign = ("saves", "less", 1) if answer.saving_usd_per_month >= 0 else ("costs", "more", -1)
    # What it costs more is counted upwards: the interval turns round with the sign.
    low, high = (low, high) if sign > 0 else (-high, -low)
    rows = [(f"Break-even of {option.name}", _break_even(answer, option)) for option in answer.options[1:] if option.capacity is not None]
    rows += [
        (
            "Self-hosting " + saves,
            f"{money(abs(answer.saving_usd_per_month))} a month {less} than the API "
            f"(80 % of scenarios: {money(low)} to {money(high)} {less}, half over {money(sign * middle)})",
        ),
        ("P(self-hosting is cheaper)", f"{odds.p_self_hosted_cheaper:.1%} of {odds.scenarios:,} scenarios (seed {odds.seed})"),
        ("P(cheapest of all)", ", ".join(f"{name} {share:.0%}" for name, share in odds.p_cheapest.items())),
        ("Payback", _payback(answer)),
        (
            "Net present value of self-hosting",
            f"{money(answer.npv_12_months_usd)} after 12 months, {money(answer.npv_36_months_usd)} after 36, "
            f"at {answer.discount_per_year:.0%} a year",
        ),
    ]
    if answer.solved is not None:
        rows.append((f"Solved for {answer.solved.input}", _solved(answer.solved)))
    return rows


def _break_even(answer: CrossoverAnswer, option: OptionCost) -> str:
    points = [point for point in answer.crossings if point.option == option.name]
    low, high = answer.searched_requests
    if not points:
        cheaper = option.name if option.usd_per_month < answer.option("api").usd_per_month else "the API"
        return f"none between {volume(low)} and {volume(high)} requests a month: {cheaper} is cheaper throughout"
    # Where it is cheaper, as ranges: a staircase can cross a line several times.
    ranges: list[str] = []
    start: float | None = None if points[0].cheaper_above == option.name else low
    for point in points:
        if point.cheaper_above == option.name:
            start = point.requests_per_month
        elif start is not None:
            ranges.append(f"from {volume(start)} to {volume(point.requests_per_month)}")
            start = None
    if start is not None:
        ranges.append(f"from {volume(start)}")
    shown = ranges if len(ranges) <= 4 else [*ranges[:3], f"({len(ranges) - 4} more)", ranges[-1]]
    return f"cheaper than the API {', '.join(shown)} requests a month ({len(points)} crossing{'s' if len(points) > 1 else ''})"


def _payback(answer: CrossoverAnswer) -> str:
    if answer.payback_months is None:
        return f"never within ten years ({money(answer.upfront_usd)} to begin with)"
    return f"{answer.payback_months:.1f} months for {money(answer.upfront_usd)} to begin with"


def _solved(solved: Solved) -> str:
    low, high = solved.searched
    cheaper = "self-hosting" if solved.cheaper_at_low == "self-hosted" else "the API"
    if not solved.values:
        return f"none between {_short(low)} and {_short(high)} {solved.unit}: {cheaper} is cheaper throughout"
    return f"{', '.join(_short(value) for value in solved.values)} {solved.unit} (below the first, {cheaper} is cheaper)"


def _option_rows(option: OptionCost) -> str:
    head = f"<tr><th colspan='4' style='text-align:left'>{html.escape(_heading(option))}</th></tr>"
    lines = "".join(
        f"<tr><td>{html.escape(line.label)}</td><td style='text-align:right'>{money(line.usd)}</td>"
        f"<td style='text-align:left;padding-left:1em'>{html.escape(line.detail)}</td>"
        f"<td style='text-align:left;padding-left:1em'>{linked(line.source)}{html.escape(f', {line.as_of}' if line.as_of else '')}</td></tr>"
        for line in option.lines
    )
    total = (
        f"<tr><td><b>a month</b></td><td style='text-align:right'><b>{money(option.usd_per_month)}</b></td>"
        f"<td style='text-align:left;padding-left:1em'>{money(option.usd_per_1k_accepted)} per 1,000 accepted answers</td>"
        f"<td style='text-align:left;padding-left:1em'>{html.escape(option.note)}</td></tr>"
    )
    return head + lines + total


def _heading(option: OptionCost) -> str:
    return option.label if option.name == option.label else f"{option.name}: {option.label}"


def _row(tag: str, text: str) -> str:
    return f"<tr><{tag} style='text-align:left'>{html.escape(text)}</{tag}>"


def _cited(source: str, as_of: str | None) -> str:
    return source if as_of is None else f"{source}, {as_of}"


def _short(value: float) -> str:
    return volume(value) if value >= 1_000 else f"{value:.3g}"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as they need to be; the second, amounts, to the right."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))] if rows else []
    return "\n".join("  ".join(cell.rjust(widths[n]) if n == 1 else cell.ljust(widths[n]) for n, cell in enumerate(row)).rstrip() for row in rows)
