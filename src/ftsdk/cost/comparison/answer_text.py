"""The answer of a crossover in words, as text and as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._format import bold, html_block, html_list, html_table, money, notes_html, text_table

if TYPE_CHECKING:
    from ftsdk.cost.comparison.answer import CrossoverAnswer, OptionCost, Solved

__all__ = ["answer_details", "answer_html", "answer_text", "verdict", "volume"]


def volume(requests: float) -> str:
    """Return a volume in three digits: 612k, 1.78M; 1e+15 beyond the letters that everybody knows."""
    if requests >= 999.5e12:
        return f"{requests:.3g}"
    # From the point where three digits round up to the next letter.
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if requests >= 0.9995 * size:
            scaled = requests / size
            return f"{scaled:.{0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2}f}{letter}"
    return f"{requests:.0f}"


def verdict(answer: CrossoverAnswer) -> str:
    """Return the answer in one sentence, which follows most scenarios.

    It can't contradict the probability beside it.
    """
    api, own, odds = answer.option("api"), answer.option("self-hosted"), answer.likelihood
    cheapest = min(answer.options, key=lambda option: option.usd_per_month)
    is_own_cheaper = odds.saving_usd_per_month[1] > 0
    first = "self-hosting" if is_own_cheaper else "the API"
    is_expected = (answer.saving_usd_per_month > 0) == is_own_cheaper
    text = f"At {volume(answer.workload.requests_per_month or 0)} requests a month {first} is cheaper"
    text += ": " if is_expected else " in most scenarios, though not with every number as expected: "
    text += (
        f"{money(own.usd_per_month)} self-hosted against {money(api.usd_per_month)} for {api.label}; "
        f"P(self-hosting is cheaper) = {odds.p_self_hosted_cheaper:.0%}"
    )
    if cheapest not in (api, own):
        text += f". Cheapest of all: {cheapest.name} at {money(cheapest.usd_per_month)}"
    return text + "."


def answer_text(answer: CrossoverAnswer) -> str:
    """Return the answer in at most ten lines: the verdict, the options, and what it depends on."""
    # Further APIs share a line; what has a GPU has one of its own.
    further = [option for option in answer.options[1:] if option.capacity is None]
    table = text_table(
        (
            (
                f"  {option.name}",
                money(option.usd_per_month),
                option.label,
                _cited(option.lines[0].source, option.lines[0].as_of),
            )
            for option in answer.options
            if option not in further
        ),
        right={1},
    )
    even = "; ".join(f"{option.name} {_ranges(answer, option)}" for option in answer.options[1:] if option.capacity)
    swings = ", ".join(swing.input.replace("_", " ") for swing in answer.swings[:3])
    last = [f"Payback: {_payback(answer)}."]
    if answer.solved is not None:
        last.append(f"Solved for {answer.solved.input}: {_solved(answer.solved)}.")
    elif swings:
        last.append(f"What matters most: {swings}.")
    parts = [verdict(answer), f"{_traffic(answer)}; US dollars a month:", table]
    if further:
        parts.append(f"  {', '.join(f'{option.label} {money(option.usd_per_month)}' for option in further)}")
    parts += [f"Break-even, where each is cheaper than the API: {even}.", " ".join(last), *_main_note(answer)]
    return "\n".join(parts)


def _main_note(answer: CrossoverAnswer) -> list[str]:
    """Return the note that changes the reading of the answer most, and how many more there are."""
    left_out = [text for text in answer.assumptions if text.startswith("training: not given")]
    # How old a price is can wait for the details.
    ordered = sorted(answer.notes, key=lambda note: note.startswith("the price of "))
    notes = [*left_out, *ordered]
    if not notes:
        return []
    if notes[0].startswith("the price of "):
        return [f"{len(notes)} note{'s' if len(notes) > 1 else ''} on the age and status of prices: see the details."]
    more = f" ({len(notes) - 1} more in the details)" if len(notes) > 1 else ""
    return [f"Note: {notes[0]}{more}."]


def _traffic(answer: CrossoverAnswer) -> str:
    w = answer.workload
    return (
        f"{volume(w.requests_per_month or 0)} requests a month, {w.input_tokens:g} tokens in and {w.output_tokens:g} "
        f"out, peak {w.peak_to_mean:g} x mean"
    )


def answer_details(answer: CrossoverAnswer) -> str:
    """Return everything: each cost line with its source, the distributions and the assumptions."""
    parts = [verdict(answer), f"\n{_traffic(answer)}\n"]
    for option in answer.options:
        parts.append(_heading(option))
        lines = [
            (f"  {line.label}", money(line.usd), line.detail, _cited(line.source, line.as_of)) for line in option.lines
        ]
        lines.append(
            (
                "  a month",
                money(option.usd_per_month),
                f"{money(option.usd_per_1k_accepted)} per 1,000 accepted answers",
                option.note,
            )
        )
        parts.append(text_table(lines, right={1}))
        if option.capacity is not None:
            parts.append(f"  one replica: {option.capacity}")
    parts.append("")
    parts += [f"{heading}: {text}" for heading, text in _findings(answer)]
    parts.append("\nWhat matters (monthly saving of self-hosting, from each input's 10th to its 90th percentile):")
    parts.append(text_table(((f"  {name}", *rest) for name, *rest in _swings(answer)), right={1}))
    parts.append("\nDistributions (10th percentile / middle / 90th, or the corners of a triangle):")
    parts += [f"  {one}" for one in answer.distributions]
    parts.append("\nAssumed, where nothing was given:")
    parts += [f"  {text}" for text in answer.assumptions]
    if answer.notes:
        parts.append("")
        parts += [f"Note: {note}" for note in answer.notes]
    return "\n".join(parts)


def answer_html(answer: CrossoverAnswer) -> str:
    """Return the answer as an HTML fragment."""
    lines = html_table(
        (row for option in answer.options for row in _option_rows(option)),
        head=("Line", "US dollars a month", "", "Source"),
        right={1},
    )
    swings = html_table(
        _swings(answer), head=("What matters", "10th to 90th percentile", "monthly saving of self-hosting")
    )
    stated = html_list(map(str, (*answer.distributions, *answer.assumptions)))
    return html_block(
        f"<p>{bold(verdict(answer))}</p>{lines}{html_table(_findings(answer), has_row_heads=True)}{swings}",
        f"<details><summary>Distributions and assumptions</summary>{stated}</details>",
        notes_html(answer.notes),
    )


def _swings(answer: CrossoverAnswer) -> list[tuple[str, str, str]]:
    return [
        (
            swing.input,
            f"{_short(swing.low)} to {_short(swing.high)}",
            f"{money(swing.saving_at_low_usd)} to {money(swing.saving_at_high_usd)}",
        )
        for swing in answer.swings
    ]


def _findings(answer: CrossoverAnswer) -> list[tuple[str, str]]:
    odds = answer.likelihood
    low, middle, high = odds.saving_usd_per_month
    saves, less, sign = ("saves", "less", 1) if answer.saving_usd_per_month >= 0 else ("costs", "more", -1)
    # What it costs more is counted upwards: the interval turns round with the sign.
    low, high = (low, high) if sign > 0 else (-high, -low)
    rows = [
        (f"Break-even of {option.name}", _break_even(answer, option))
        for option in answer.options[1:]
        if option.capacity is not None
    ]
    rows += [
        (
            "Self-hosting " + saves,
            f"{money(abs(answer.saving_usd_per_month))} a month {less} than the API "
            f"(80% of scenarios: {money(low)} to {money(high)} {less}, half over {money(sign * middle)})",
        ),
        (
            "P(self-hosting is cheaper)",
            f"{odds.p_self_hosted_cheaper:.1%} of {odds.scenarios:,} scenarios (seed {odds.seed})",
        ),
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
    return (
        f"cheaper than the API {', '.join(shown)} requests a month ({len(points)} "
        f"crossing{'s' if len(points) > 1 else ''})"
    )


def _ranges(answer: CrossoverAnswer, option: OptionCost) -> str:
    return _break_even(answer, option).removeprefix("cheaper than the API ").removesuffix(" (1 crossing)")


def _payback(answer: CrossoverAnswer) -> str:
    if answer.payback_months is None:
        return f"never within ten years ({money(answer.upfront_usd)} up front)"
    return f"{answer.payback_months:.1f} months for {money(answer.upfront_usd)} up front"


def _solved(solved: Solved) -> str:
    low, high = solved.searched
    cheaper = "self-hosting" if solved.cheaper_at_low == "self-hosted" else "the API"
    if not solved.values:
        return f"none between {_short(low)} and {_short(high)} {solved.unit}: {cheaper} is cheaper throughout"
    return (
        f"{', '.join(_short(value) for value in solved.values)} {solved.unit} (below the first, {cheaper} is cheaper)"
    )


def _option_rows(option: OptionCost) -> list[tuple[str, str, str, str]]:
    each = f"{money(option.usd_per_1k_accepted)} per 1,000 accepted answers"
    return [
        (bold(_heading(option)), "", "", ""),
        *((line.label, money(line.usd), line.detail, _cited(line.source, line.as_of)) for line in option.lines),
        (bold("a month"), bold(money(option.usd_per_month)), each, option.note),
    ]


def _heading(option: OptionCost) -> str:
    return option.label if option.name == option.label else f"{option.name}: {option.label}"


def _cited(source: str, as_of: str | None) -> str:
    return source if as_of is None else f"{source}, {as_of}"


def _short(value: float) -> str:
    return volume(value) if value >= 1_000 else f"{value:.3g}"
