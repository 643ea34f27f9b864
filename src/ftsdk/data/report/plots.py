"""Plots of a report as inline SVG, in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftsdk._format import Html
from ftsdk._svg import BAR, WARNING, svg_figure, svg_text

if TYPE_CHECKING:
    from ftsdk.data.report.lengths import Lengths

__all__ = ["class_bars", "length_histogram"]

_WIDTH = 480
_HEIGHT = 130
_MOST_BARS = 16
_LINE = 20
_LABEL = 170
_LONGEST_LABEL = 26


def length_histogram(lengths: Lengths) -> Html:
    """Return a histogram of the rows' tokens; bins beyond `max_length` are red."""
    most = max(count for _, count in lengths.bins)
    step = _WIDTH / len(lengths.bins)
    bars: list[str] = []
    for n, (end, count) in enumerate(lengths.bins):
        height = _HEIGHT * count / most
        start = lengths.bins[n - 1][0] + 1 if n else lengths.shortest
        is_cut = lengths.max_length is not None and start > lengths.max_length
        bars.append(
            f'<rect x="{n * step:.1f}" y="{_HEIGHT - height:.1f}" width="{step - 2:.1f}" height="{height:.1f}" '
            f'fill="{WARNING if is_cut else BAR}"><title>{start:,} to {end:,} tokens: {count:,} rows</title></rect>'
        )
    labels: list[str] = []
    for n in sorted({0, len(lengths.bins) // 2, len(lengths.bins) - 1}):
        is_last = n == len(lengths.bins) - 1
        start, end = lengths.bins[n - 1][0] + 1 if n else lengths.shortest, lengths.bins[n][0]
        text = f"{start:,} to {end:,}" if is_last and start < end else f"{start:,}"
        labels.append(svg_text(text, _WIDTH if is_last else n * step, _HEIGHT + 16, "end" if is_last else "start"))
    how = f"counted by {lengths.counted_by}" if lengths.counted_by else "guessed from the text"
    return svg_figure(f"Tokens of a row, {how}", [*bars, *labels], _WIDTH, _HEIGHT + 22)


def class_bars(classes: Sequence[tuple[str, int]]) -> Html:
    """Return a bar for each class, the largest first; of many classes the largest and the smallest. Empty without."""
    if not classes:
        return Html("")
    is_all = len(classes) <= _MOST_BARS
    half = _MOST_BARS // 2
    shown = list(classes) if is_all else [*classes[:half], ("", 0), *classes[-half:]]
    most = classes[0][1]
    parts: list[str] = []
    for n, (name, count) in enumerate(shown):
        y = n * _LINE
        if not is_all and n == half:
            parts.append(svg_text(f"… {len(classes) - _MOST_BARS:,} more", _LABEL, y + 14, "end"))
            continue
        width = (_WIDTH - _LABEL - 70) * count / most
        label = name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"
        parts.append(svg_text(" ".join(label.split()) or "(empty)", _LABEL, y + 14, "end"))
        parts.append(f'<rect x="{_LABEL + 8}" y="{y + 3}" width="{width:.1f}" height="{_LINE - 6}" fill="{BAR}"/>')
        parts.append(svg_text(f"{count:,}", _LABEL + 14 + width, y + 14, "start"))
    return svg_figure(f"Classes: {len(classes):,}", parts, _WIDTH, len(shown) * _LINE)
