"""Where two cost curves cross. A curve with steps can cross a line several times; every crossing is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

__all__ = ["Crossing", "crossings"]


class Crossing(NamedTuple):
    """A point where the sign of a difference changes."""

    at: float
    is_rising: bool
    """The difference is negative before and positive after."""


def crossings(
    difference: Callable[[Any], Any], low: float, high: float, *, breaks: Sequence[float] = (), points: int = 2000
) -> tuple[Crossing, ...]:
    """Return every sign change between two points.

    Between neighbouring breaks the function has to be continuous; it may jump at a break.

    Args:
        difference: Of one cost and another; takes a float, or an array of them.
        low: Where to begin, above 0.
        high: Where to end.
        breaks: Where it may jump. A break belongs to what lies before it: the jump is just after.
        points: How finely continuous pieces are sampled, evenly in the logarithm. Two crossings between neighbouring
            samples are missed.
    """
    import numpy as np

    grid = np.geomspace(low, high, points)
    inner = np.asarray([b for b in breaks if low < b < high])
    places = np.unique(np.concatenate([grid, inner, inner * (1 + 1e-7)]))
    values = np.broadcast_to(difference(places), places.shape)
    # Where the two are equal, the neighbours tell on which side they are; where there is no difference to speak of
    # (NaN), nobody does.
    known = (values != 0) & np.isfinite(values)
    places, signs = places[known], np.sign(values[known])
    return tuple(
        Crossing(_bisect(difference, float(places[n]), float(places[n + 1]), float(signs[n])), bool(signs[n + 1] > 0))
        for n in np.flatnonzero(signs[1:] != signs[:-1])
    )


def _bisect(difference: Callable[[Any], Any], low: float, high: float, sign_low: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        value = float(difference(middle))
        if value == 0:
            return middle
        low, high = (middle, high) if (value < 0) == (sign_low < 0) else (low, middle)
    return (low + high) / 2
