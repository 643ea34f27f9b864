"""The picture of a sweep: the validation curves of its trials, and where each configuration ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ftsdk._format import Html, escaped
from ftsdk._svg import BAR, MUTED, svg_text

__all__ = ["Dots", "Line", "curves_plot", "values_plot"]

_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 30, 42
_ROW = 24
_LABELS = 300
"""Pixels for the labels of the second picture."""
_LONGEST = 44
_OTHER = "#d97706"


@dataclass(frozen=True, kw_only=True)
class Line:
    """The curve of one trial."""

    label: str
    curve: Sequence[tuple[float, float]]
    """Share of the training, and metric."""
    is_best: bool = False
    is_stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class Dots:
    """The values of one configuration, one for each seed."""

    label: str
    values: Sequence[float]
    mean: float | None
    is_best: bool = False


def curves_plot(
    lines: Sequence[Line], *, metric: str, beside: tuple[str, int] = ("", 0), is_file: bool = False
) -> Html:
    """Return the picture as SVG, in the colours of the page around it; empty if there is nothing to see.

    Args:
        lines: One for each trial.
        metric: What is measured.
        beside: Another picture and its height, drawn below.
        is_file: It stands alone, so it has colours of its own.
    """
    height = _HEIGHT if lines else 0
    below, more = beside
    body = "".join(_curves(lines, metric)) if lines else ""
    total = height + more
    colours = ";color:#1a1a1a;background:#fff;padding:12px" if is_file else ";margin-top:1.2em"
    if not total:
        return Html("")
    return Html(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {total}" width="{_WIDTH}" height="{total}" '
        f'style="max-width:100%;height:auto{colours}" font-family="system-ui,sans-serif" role="img" '
        f'aria-label="{escaped(f"Validation {metric} of the runs")}">{body}'
        f'<g transform="translate(0 {height})">{below}</g></svg>'
    )


def _curves(lines: Sequence[Line], metric: str) -> list[str]:
    points = [value for line in lines for _, value in line.curve]
    low, high = _domain(points)
    bottom = _HEIGHT - _BOTTOM

    def x_of(share: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * share

    def y_of(value: float) -> float:
        return _TOP + (bottom - _TOP) * (1 - (value - low) / (high - low))

    parts = [svg_text(f"Validation {metric} while training", 0, 14, size=13)]
    for value in _ticks(low, high):
        parts.append(_line(_LEFT, _WIDTH - _RIGHT, y_of(value), y_of(value), 'stroke="currentColor" opacity="0.15"'))
        parts.append(svg_text(f"{value:.6g}", _LEFT - 6, y_of(value) + 4, "end", size=11))
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(svg_text(f"{part:.0%}", x_of(part), bottom + 17, "middle", size=11))
    parts.append(svg_text("share of the training", (_LEFT + _WIDTH - _RIGHT) / 2, bottom + 34, "middle", size=11))
    # The best one last, so that it lies on top.
    for line in sorted(lines, key=lambda line: line.is_best):
        colour = BAR if line.is_best else MUTED
        width = 2.5 if line.is_best else 1.5
        path = " ".join(f"{x_of(share):.1f},{y_of(value):.1f}" for share, value in line.curve)
        title = f"<title>{escaped(line.label)}</title>"
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}">{title}</polyline>'
        )
        for n, (share, value) in enumerate(line.curve):
            is_end = line.is_stopped and n == len(line.curve) - 1
            parts.append(_mark(x_of(share), y_of(value), _OTHER if is_end else colour, is_cross=is_end, title=title))
    return [*parts, *_legend(lines)]


def _legend(lines: Sequence[Line]) -> list[str]:
    entries = [(BAR, False, "best")] if any(line.is_best for line in lines) else []
    if any(not line.is_best for line in lines):
        entries.append((MUTED, False, "others"))
    if any(line.is_stopped for line in lines):
        entries.append((_OTHER, True, "stopped"))
    x = _WIDTH - _RIGHT + 30 - 84.0 * len(entries)
    parts: list[str] = []
    for colour, is_cross, word in entries:
        parts += [_mark(x, 10, colour, is_cross=is_cross), svg_text(word, x + 10, 14, size=11)]
        x += 84
    return parts


def values_plot(rows: Sequence[Dots], *, metric: str) -> tuple[str, int]:
    """Return where each configuration ended, a dot for each seed and a bar at the mean, and the height in pixels."""
    if not rows:
        return "", 0
    low, high = _domain([value for row in rows for value in row.values])
    height = _TOP + _ROW * len(rows) + 34

    def x_of(value: float) -> float:
        return _LABELS + (_WIDTH - _LABELS - _RIGHT) * (value - low) / (high - low)

    parts = [svg_text(f"Validation {metric} at the end", 0, 18, size=13)]
    for value in _ticks(low, high):
        x = x_of(value)
        parts.append(_line(x, x, _TOP, height - 28, 'stroke="currentColor" opacity="0.15"'))
        parts.append(svg_text(f"{value:.6g}", x, height - 12, "middle", size=11))
    for n, row in enumerate(rows):
        y = _TOP + _ROW * n + _ROW / 2
        colour = BAR if row.is_best else MUTED
        label = row.label if len(row.label) <= _LONGEST else f"{row.label[: _LONGEST - 1]}…"
        parts.append(svg_text(label, _LABELS - 12, y + 4, "end"))
        if row.mean is not None and len(row.values) > 1:
            x = x_of(row.mean)
            parts.append(_line(x, x, y - 8, y + 8, f'stroke="{colour}" stroke-width="3"'))
        parts += [_mark(x_of(value), y, colour, title=f"<title>{value:.4g}</title>") for value in row.values]
    return "".join(parts), height


def _domain(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers from one end to the other."""
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * 0.999)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]


def _mark(x: float, y: float, colour: str, *, is_cross: bool = False, title: str = "") -> str:
    if not is_cross:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}">{title}</circle>'
    arms = f"M{x - 4:.1f},{y - 4:.1f}l8,8m0,-8l-8,8"
    return f'<path d="{arms}" stroke="{colour}" stroke-width="2.5" fill="none">{title}</path>'


def _line(x1: float, x2: float, y1: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" {style}/>'
