"""Monthly cost over volume: where the options cross the API, and the curves to draw."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from ftsdk.cost.comparison.answer import CrossingPoint, Curve
from ftsdk.cost.comparison.crossings import crossings
from ftsdk.cost.comparison.options import AlwaysOn, Option
from ftsdk.cost.comparison.scenario import Scenario

__all__ = ["LEAST_REQUESTS", "MOST_REQUESTS", "break_even_points", "cost_curves"]

LEAST_REQUESTS = 1_000.0
"""Requests a month from which crossings are searched."""
MOST_REQUESTS = 1e9
"""Requests a month up to which they are, unless the expected volume is near it."""


def break_even_points(scenario: Scenario, largest: float) -> list[CrossingPoint]:
    """Return every volume up to `largest` at which an option and the API cost the same."""
    return [point for option in scenario.options[1:] for point in _points(scenario, option, largest)]


def cost_curves(scenario: Scenario, points: list[CrossingPoint], largest: float) -> tuple[Curve, ...]:
    """Return the curves over the volumes of interest: up to beyond the expected one and the first crossings.

    Args:
        scenario: With prices.
        points: The crossings.
        largest: The largest volume that is drawn.
    """
    expected = float(scenario.expected.requests)
    own = [point.requests_per_month for point in points if point.option == scenario.own.name]
    near = [volume for volume in own[:3] if volume < 50 * expected]
    high = min(largest, 2.2 * max(expected, *near) if near else 3 * expected)
    return tuple(_curve(scenario, option, high) for option in scenario.options)


def _points(scenario: Scenario, option: Option, largest: float) -> list[CrossingPoint]:
    api, shared = scenario.api, scenario.shared

    def difference(requests: Any) -> Any:
        draw = scenario.at(requests)
        return option.monthly_usd(draw, shared) - api.monthly_usd(draw, shared)

    breaks = option.steps(scenario.at(1.0), shared, largest) if isinstance(option, AlwaysOn) else ()
    return [
        CrossingPoint(
            option=option.name,
            requests_per_month=point.at,
            cheaper_above=api.name if point.is_rising else option.name,
            usd_per_month=round(Decimal(repr(float(api.monthly_usd(scenario.at(point.at), shared)))), 2),
        )
        for point in crossings(difference, LEAST_REQUESTS, largest, breaks=breaks)
    ]


def _curve(scenario: Scenario, option: Option, high: float) -> Curve:
    # A volume below the least that is searched has its picture too.
    low = min(LEAST_REQUESTS, high / 100)
    volumes = np.linspace(low, high, 400)
    if isinstance(option, AlwaysOn):
        steps = np.asarray(option.steps(scenario.at(1.0), scenario.shared, high))
        volumes = np.unique(np.concatenate([volumes, steps, steps * (1 + 1e-7)]))
        volumes = volumes[(volumes >= low) & (volumes <= high)]
    usd = np.broadcast_to(option.monthly_usd(scenario.at(volumes), scenario.shared), volumes.shape)
    return Curve(
        option=option.name, requests_per_month=tuple(map(float, volumes)), usd_per_month=tuple(map(float, usd))
    )
