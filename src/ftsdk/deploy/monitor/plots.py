"""The course of some hours as inline SVG: bars for requests, lines for latency and acceptance."""

from __future__ import annotations

from collections.abc import Sequence

from ftsdk._format import Html
from ftsdk._svg import BAR, MUTED, WARNING, svg_figure, svg_text
from ftsdk.deploy.monitor.report import Moment
from ftsdk.deploy.monitor.text import clock, seconds

__all__ = ["acceptance_plot", "latency_plot", "requests_plot"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 480, 150, 52, 24, 10
FALLBACK = "#d97706"


def requests_plot(moments: Sequence[Moment]) -> Html:
    """Return bars of requests: answered by the first target, by a fallback, failed."""
    top = max((one.requests for one in moments), default=0) or 1
    parts = _axes(moments, f"{top:,}", "0")
    step = (_WIDTH - _LEFT) / len(moments)
    for n, one in enumerate(moments):
        y = float(_HEIGHT - _BOTTOM)
        for count, colour in (
            (one.requests - one.fallbacks - one.failed, BAR),
            (one.fallbacks, FALLBACK),
            (one.failed, WARNING),
        ):
            height = (_HEIGHT - _BOTTOM - _TOP) * max(0, count) / top
            y -= height
            if height:
                parts.append(
                    f'<rect x="{_LEFT + n * step:.1f}" y="{y:.1f}" width="{step * 0.85:.1f}" height="{height:.1f}" '
                    f'fill="{colour}"/>'
                )
    return Html(svg_figure("Requests", parts, _WIDTH, _HEIGHT) + _legend())


def _legend() -> str:
    words = (("first target", BAR), ("fallback", FALLBACK), ("failed", WARNING))
    return "".join(f'<span class="key"><i style="background:{colour}"></i>{word}</span>' for word, colour in words)


def latency_plot(moments: Sequence[Moment]) -> Html:
    """Return the course of the 95th percentile."""
    top = max((one.p95_s or 0.0 for one in moments), default=0.0) or 1.0
    parts = _axes(moments, seconds(top), "0")
    return svg_figure(
        "Latency, 95th percentile", [*parts, *_line(moments, [one.p95_s for one in moments], 0, top)], _WIDTH, _HEIGHT
    )


def acceptance_plot(moments: Sequence[Moment]) -> Html:
    """Return the course of the share of judged answers that were accepted; empty if nothing was judged."""
    shares = [one.acceptance for one in moments]
    known = [share for share in shares if share is not None]
    if not known:
        return Html("")
    low = max(0.0, min(0.9, int(min(known) * 10) / 10))
    parts = _axes(moments, "100%", f"{low:.0%}")
    return svg_figure("Accepted of judged answers", [*parts, *_line(moments, shares, low, 1.0)], _WIDTH, _HEIGHT)


def _axes(moments: Sequence[Moment], top: str, bottom: str) -> list[str]:
    base = _HEIGHT - _BOTTOM
    line = f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{{0}}" y2="{{0}}" stroke="{MUTED}" stroke-width="1" opacity=".5"/>'
    first, last = clock(moments[0].at), clock(moments[-1].at)
    hours = (moments[-1].at - moments[0].at) / 3600
    # The time of day; with the day where the span touches two, the day alone where it is long.
    shown = slice(11, None) if hours < 12 else slice(5, None) if hours < 48 else slice(5, 10)
    return [
        line.format(base),
        line.format(_TOP),
        svg_text(top, _LEFT - 6, _TOP + 5, "end"),
        svg_text(bottom, _LEFT - 6, base + 4, "end"),
        svg_text(first[shown], _LEFT, _HEIGHT - 6),
        svg_text(f"{last[shown]} UTC", _WIDTH, _HEIGHT - 6, "end"),
    ]


def _line(moments: Sequence[Moment], values: Sequence[float | None], low: float, high: float) -> list[str]:
    """Return a line that is broken where there is no value, with a dot for each value."""
    step = (_WIDTH - _LEFT) / len(moments)
    found: list[str] = []
    run: list[str] = []
    for n, value in enumerate([*values, None]):
        if value is not None:
            share = (value - low) / (high - low)
            x, y = _LEFT + (n + 0.5) * step, _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)
            run.append(f"{x:.1f},{y:.1f}")
            found.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{BAR}"/>')
        elif run:
            found.append(f'<polyline points="{" ".join(run)}" fill="none" stroke="{BAR}" stroke-width="1.5"/>')
            run = []
    return found
