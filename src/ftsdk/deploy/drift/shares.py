"""Shares of classes, now and in training: the population stability index and the chi-squared test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ftsdk.deploy.drift.tails import chi_square_above
from ftsdk.spec import Value

__all__ = ["Shift", "compare_shares", "length_class", "length_edges"]

_FEWEST_EXPECTED = 5.0
"""In each class of a window: below, the chi-squared distribution doesn't hold."""
_FEWEST_OF_BIN = 0.05
_BINS = 10
REST = "(other)"


class Shift(Value):
    """How the shares of classes moved."""

    psi: float
    """Population stability index, without what chance adds: 0 for the same shares, and over 0.2 by common use a shift
    that matters."""
    p_value: float
    """That the shares are the same, by the chi-squared test of two samples."""
    moved: tuple[tuple[str, float, float], ...]
    """Each class with its share in training and now, the largest change first."""


def compare_shares(before: Mapping[str, int], now: Mapping[str, int]) -> Shift:
    """Return how the shares of classes moved from one sample to another.

    Classes of which fewer than five are expected in the smaller sample are taken together.

    Args:
        before: Counts in the training data.
        now: Counts in the window.
    """
    n, m = sum(now.values()), sum(before.values())
    cells = _merged(before, now, min(n, m) / (n + m))
    statistic = psi = 0.0
    for _, was, is_now in cells:
        pooled = (was + is_now) / (n + m)
        statistic += (was - m * pooled) ** 2 / (m * pooled) + (is_now - n * pooled) ** 2 / (n * pooled)
        p, q = (was + 0.5) / (m + 0.5 * len(cells)), (is_now + 0.5) / (n + 0.5 * len(cells))
        psi += (q - p) * math.log(q / p)
    degrees = len(cells) - 1
    moved = sorted(
        ((name, before.get(name, 0) / m, now.get(name, 0) / n) for name in {**before, **now}),
        key=lambda one: (-abs(one[2] - one[1]), one[0]),
    )
    return Shift(
        psi=max(0.0, psi - degrees * (1 / n + 1 / m)),
        p_value=chi_square_above(statistic, degrees) if degrees else 1.0,
        moved=tuple(moved),
    )


def _merged(before: Mapping[str, int], now: Mapping[str, int], share: float) -> list[tuple[str, int, int]]:
    """Return counts of classes, with the rare ones taken together."""
    cells = sorted(
        ((name, before.get(name, 0), now.get(name, 0)) for name in {**before, **now}),
        key=lambda cell: (cell[1] + cell[2], cell[0]),
    )
    rest = [cell for cell in cells if (cell[1] + cell[2]) * share < _FEWEST_EXPECTED]
    kept = cells[len(rest) :]
    while rest and kept and sum(was + is_now for _, was, is_now in rest) * share < _FEWEST_EXPECTED:
        rest.append(kept.pop(0))
    if rest:
        kept.insert(0, (REST, sum(cell[1] for cell in rest), sum(cell[2] for cell in rest)))
    return kept


def length_edges(lengths: Sequence[int]) -> tuple[int, ...]:
    """Return where to cut lengths into up to ten classes of about the same size, at least 5 % of the rows in each.

    Args:
        lengths: Characters of each text.
    """
    ordered = sorted(lengths)
    fewest = max(1, math.ceil(len(ordered) * _FEWEST_OF_BIN))
    edges: list[int] = []
    last = 0
    for k in range(1, _BINS):
        position = k * len(ordered) // _BINS
        edge = ordered[position]
        # The class below an edge holds the lengths under it.
        first = _first_at(ordered, edge)
        if first - last >= fewest and len(ordered) - first >= fewest:
            edges.append(edge)
            last = first
    return tuple(edges)


def length_class(length: float, edges: Sequence[int]) -> str:
    """Return the class of a length, as text: `under 80`, `80 to 119`, `900 and more`."""
    if not edges:
        return "any"
    below = sum(1 for edge in edges if length >= edge)
    if below == 0:
        return f"under {edges[0]:,}"
    if below == len(edges):
        return f"{edges[-1]:,} and more"
    return f"{edges[below - 1]:,} to {edges[below] - 1:,}"


def _first_at(ordered: Sequence[int], value: int) -> int:
    from bisect import bisect_left

    return bisect_left(ordered, value)
