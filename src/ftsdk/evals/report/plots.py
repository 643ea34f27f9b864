"""Plots of a report as inline SVG, in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ftsdk._format import Html, escaped, money
from ftsdk._svg import BAR, MUTED, WARNING, svg_figure, svg_text

__all__ = ["CostPoint", "Domain", "cost_plot", "domain_of", "heat", "interval_plot"]

_WIDTH, _HEIGHT = 350, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 40
_LONGEST_NAME = 22
_COLOURS = (BAR, "#d97706", "#059669", "#7c3aed", "#db2777", MUTED)

Domain = tuple[float, float]
"""The values at the left and the right end of a plot."""


class CostPoint(NamedTuple):
    """One target in the plot of quality against cost."""

    name: str
    usd: float
    value: float
    low: float
    high: float


def domain_of(values: Sequence[float], *, is_bounded: bool, has_sign: bool = False) -> Domain:
    """Return the ends of a plot that holds all values: 0 to 1 for shares; symmetric for differences.

    Infinite ends of intervals reach beyond it.
    """
    known = [value for value in values if math.isfinite(value)] or [0.0]
    if has_sign:
        reach = max(0.05 if is_bounded else 1e-9, *map(abs, known)) * 1.1
        return -reach, reach
    if is_bounded:
        return 0.0, 1.0
    low, high = min(0.0, *known), max(0.0, *known)
    return low, high if high > low else low + 1.0


def interval_plot(value: float, low: float, high: float, domain: Domain, *, colour: str = BAR, label: str = "") -> Html:
    """Return a strip with a mark at the value and a line along its interval, as wide as its cell."""

    def place(number: float) -> float:
        left, right = domain
        return round(1000 * min(1.0, max(0.0, (number - left) / (right - left))), 1)

    zero = f'<line x1="{place(0)}" x2="{place(0)}" y1="0" y2="20" class="axis"/>' if domain[0] < 0 < domain[1] else ""
    return Html(
        f'<svg class="strip" viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" aria-label="{escaped(label)}">'
        f'<rect width="1000" height="20" fill="currentColor" opacity="0.07"/>{zero}'
        f'<line x1="{place(low)}" x2="{place(high)}" y1="10" y2="10" class="interval" stroke="{colour}"/>'
        f'<line x1="{place(value)}" x2="{place(value)}" y1="3" y2="17" class="value" stroke="{colour}"/></svg>'
    )


def cost_plot(points: Sequence[CostPoint], *, title: str, is_bounded: bool) -> Html:
    """Return quality against the cost of a thousand accepted answers: up and to the left is better.

    Costs that differ more than twentyfold are drawn on a logarithmic scale. Empty without points.
    """
    if not points:
        return Html("")
    low, high = domain_of(
        [end for point in points for end in (point.value, point.low, point.high)], is_bounded=is_bounded
    )
    dearest, cheapest = max(point.usd for point in points), min(point.usd for point in points)
    is_log = cheapest > 0 and dearest > 20 * cheapest
    left, right = (math.log(cheapest / 2), math.log(dearest * 2)) if is_log else (0.0, dearest * 1.15 or 1.0)

    def x_of(usd: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * ((math.log(usd) if is_log else usd) - left) / (right - left)

    def y_of(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - min(1.0, max(0.0, (value - low) / (high - low))))

    bottom = _HEIGHT - _BOTTOM
    parts: list[str] = []
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        value = low + part * (high - low)
        parts.append(_line(_LEFT, _WIDTH - _RIGHT, y_of(value), y_of(value), 'stroke="currentColor" opacity="0.15"'))
        parts.append(
            svg_text(f"{value:.0%}" if is_bounded else f"{value:.3g}", _LEFT - 6, y_of(value) + 4, "end", size=11)
        )
    ticks = [cheapest, math.sqrt(cheapest * dearest), dearest] if is_log else [0.0, right / 2, right]
    for n, usd in enumerate(ticks):
        anchor = "end" if n == len(ticks) - 1 and not is_log else "middle"
        parts.append(svg_text(money(float(f"{usd:.2g}")), x_of(usd), bottom + 16, anchor, size=11))
    scale = "US dollars per 1,000 accepted answers" + (" (logarithmic)" if is_log else "")
    parts.append(svg_text(scale, (_LEFT + _WIDTH - _RIGHT) / 2, bottom + 34, "middle", size=11))
    for n, point in enumerate(points):
        x, colour = x_of(point.usd), _COLOURS[n % len(_COLOURS)]
        parts.append(_line(x, x, y_of(point.low), y_of(point.high), f'stroke="{colour}" stroke-width="2"'))
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y_of(point.value):.1f}" r="5" fill="{colour}"><title>{escaped(point.name)}: '
            f"{money(point.usd)}</title></circle>"
        )
        is_right = x > _WIDTH * 0.6
        name = point.name if len(point.name) <= _LONGEST_NAME else point.name[: _LONGEST_NAME - 1] + "…"
        parts.append(
            svg_text(name, x - 9 if is_right else x + 9, y_of(point.value) + 4, "end" if is_right else "start")
        )
    return svg_figure(title, parts, _WIDTH, _HEIGHT)


def heat(share: float, *, is_right: bool) -> str:
    """Return a background for a cell of a confusion matrix; `share` of its row runs from 0 to 1."""
    colour = BAR if is_right else WARNING
    alpha = round(255 * min(1.0, 0.08 + 0.5 * share)) if share > 0 else 0
    return f"background:{colour}{alpha:02x}"


def _line(x1: float, x2: float, y1: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" {style}/>'
