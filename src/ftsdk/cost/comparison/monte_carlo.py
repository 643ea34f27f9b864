"""Many scenarios at once: the distributions, the draws, and which number matters most."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ftsdk._rich_text import rich_text
from ftsdk.cost.comparison.options import Draw
from ftsdk.spec import Value

__all__ = ["Distribution", "Swing", "draw_samples", "percentiles", "tornado"]

_Z10 = 1.2815515655446004
"""The 90th percentile of a standard normal."""
_LEAST_SWING_USD = 0.01


class Distribution(Value):
    """How one number is taken to vary, with what speaks for it."""

    input: str
    kind: str
    """lognormal, triangular, interval, beta, mixture or fixed."""
    low: float
    """10th percentile; of a triangle, its lower end."""
    likely: float
    """Median; of a triangle, its peak."""
    high: float
    """90th percentile; of a triangle, its upper end."""
    why: str

    def __str__(self) -> str:
        if self.kind == "fixed":
            return f"{self.input}: {self.likely:g} ({self.why})"
        return (
            f"{self.input}: {self.kind}, {_plain(self.low)} / {_plain(self.likely)} / {_plain(self.high)} ({self.why})"
        )

    __rich__ = rich_text


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


class Swing(Value):
    """What one number does to the monthly saving, all others as expected."""

    input: str
    low: float
    """Its 10th percentile."""
    high: float
    saving_at_low_usd: float
    saving_at_high_usd: float

    @property
    def width_usd(self) -> float:
        """How far apart the two are."""
        return abs(self.saving_at_high_usd - self.saving_at_low_usd)


class Samples(NamedTuple):
    """Many scenarios in one draw, and the samples of each input."""

    draw: Draw
    by_input: dict[str, Any]


def draw_samples(distributions: tuple[Distribution, ...], expected: Draw, *, scenarios: int, seed: int) -> Samples:
    """Draw every input on its own; inputs are taken as independent."""
    generator = np.random.default_rng(seed)
    by_input = {one.input: _sample(one, generator, scenarios) for one in distributions}
    return Samples(replace(expected, **by_input), by_input)


def tornado(expected: Draw, by_input: dict[str, Any], *, saving: Callable[[Draw], float]) -> tuple[Swing, ...]:
    """Move one input at a time from its 10th to its 90th percentile.

    The widest swing comes first, those that move nothing are left out.
    """
    swings: list[Swing] = []
    for name, samples in by_input.items():
        low, high = (float(value) for value in np.percentile(samples, [10, 90]))
        if low == high:
            continue
        at_low, at_high = saving(replace(expected, **{name: low})), saving(replace(expected, **{name: high}))
        if abs(at_low - at_high) < _LEAST_SWING_USD:
            continue
        swings.append(Swing(input=name, low=low, high=high, saving_at_low_usd=at_low, saving_at_high_usd=at_high))
    return tuple(sorted(swings, key=lambda swing: -swing.width_usd))


def percentiles(values: Any) -> tuple[float, float, float]:
    """The 10th, 50th and 90th percentile: an 80% interval and its middle."""
    low, middle, high = np.percentile(values, [10, 50, 90])
    return float(low), float(middle), float(high)


def _sample(one: Distribution, generator: np.random.Generator, n: int) -> Any:
    match one.kind:
        case "lognormal":
            # The two ends needn't be as far from the middle: the median is then their geometric mean.
            sigma = math.log(one.high / one.low) / (2 * _Z10)
            return np.exp(generator.normal((math.log(one.low) + math.log(one.high)) / 2, sigma, n))
        case "triangular":
            return (
                generator.triangular(one.low, one.likely, one.high, n) if one.high > one.low else np.full(n, one.likely)
            )
        case "interval":
            # Half of the draws on each side of the middle, evenly, so that a tenth of all lies beyond either end.
            aside = 1.25 * generator.uniform(-1, 1, n)
            return np.maximum(
                0.0, one.likely + aside * np.where(aside < 0, one.likely - one.low, one.high - one.likely)
            )
        case "beta":
            # `low` and `high` tell; what is drawn has the mean `likely` and the weight of so many examples.
            weight = one.likely * (1 - one.likely) / ((one.high - one.low) / (2 * _Z10)) ** 2
            return generator.beta(one.likely * weight, (1 - one.likely) * weight, n)
        case "mixture":
            # As it is with most probability, else lower, seldom higher.
            chance = generator.random(n)
            moved = np.where(
                chance < 0.9, generator.uniform(one.low, one.likely, n), generator.uniform(one.likely, one.high, n)
            )
            return np.where(generator.random(n) < 0.7, one.likely, moved)
        case _:
            return np.full(n, one.likely)
