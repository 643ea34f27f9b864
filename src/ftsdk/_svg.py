"""Inline SVG in the colours of the page around it."""

from __future__ import annotations

from collections.abc import Sequence

from ftsdk._format import Html, escaped

__all__ = ["BAR", "MUTED", "WARNING", "svg_figure", "svg_text"]

BAR = "#2563eb"
MUTED = "#94a3b8"
WARNING = "#dc2626"


def svg_figure(title: str, parts: Sequence[str], width: int, height: float) -> Html:
    """Return a picture under a heading, as wide as it is, or as the page if that is narrower.

    Args:
        title: The heading, which is also read aloud.
        parts: SVG elements.
        width: In pixels, as the height.
        height: In pixels.
    """
    return Html(
        f'<h4>{escaped(title)}</h4><svg viewBox="0 0 {width} {height:g}" width="{width}" height="{height:g}" '
        f'role="img" aria-label="{escaped(title)}">{"".join(parts)}</svg>'
    )


def svg_text(text: str, x: float, y: float, anchor: str = "start", *, size: int = 12) -> str:
    """Return a line of text; `anchor` is start, middle or end."""
    return (
        f'<text x="{x:.1f}" y="{y:g}" text-anchor="{anchor}" font-size="{size}" fill="currentColor">'
        f"{escaped(text)}</text>"
    )
