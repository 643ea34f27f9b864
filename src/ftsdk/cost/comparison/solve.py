"""At which value of one input the API and self-hosting cost the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from ftsdk.cost.comparison.answer import CrossingPoint, Solved
from ftsdk.cost.comparison.crossings import crossings
from ftsdk.cost.comparison.inputs import Inputs
from ftsdk.cost.comparison.scenario import Scenario, build_scenario
from ftsdk.errors import SpecError

__all__ = ["SOLVABLE", "solve"]


class _Input(NamedTuple):
    low: float
    high: float
    unit: str
    put: Callable[[Inputs, float], Inputs]


def _workload(name: str) -> Callable[[Inputs, float], Inputs]:
    return lambda inputs, value: replace(inputs, workload=inputs.workload.replace(**{name: value}))


def _operations(name: str, *, is_money: bool = False) -> Callable[[Inputs, float], Inputs]:
    return lambda inputs, value: replace(
        inputs, operations=inputs.operations.replace(**{name: _money(value) if is_money else value})
    )


def _quality(name: str) -> Callable[[Inputs, float], Inputs]:
    return lambda inputs, value: replace(inputs, quality=inputs.quality.replace(**{name: value}))


def _own(name: str, *, is_money: bool = False) -> Callable[[Inputs, float], Inputs]:
    return lambda inputs, value: replace(
        inputs, self_hosted=inputs.self_hosted.replace(**{name: _money(value) if is_money else value})
    )


def _money(value: float) -> Decimal:
    return Decimal(repr(value))


def _training(inputs: Inputs, value: float) -> Inputs:
    usd = _money(value)
    return replace(inputs, training=inputs.training.replace(low=usd, likely=usd, high=usd))


def _tokenizer(inputs: Inputs, value: float) -> Inputs:
    return replace(inputs, api=inputs.api.replace(tokenizer_ratio=value))


def _price_ratio(inputs: Inputs, value: float) -> Inputs:
    del value  # part of the draw, not of the inputs: `solve` puts it there
    return inputs


def _retrains(inputs: Inputs, value: float) -> Inputs:
    return replace(inputs, retrains_per_year=value)


SOLVABLE: dict[str, _Input] = {
    "requests_per_month": _Input(0, 0, "requests a month", _workload("requests_per_month")),
    "input_tokens": _Input(1, 100_000, "tokens", _workload("input_tokens")),
    "output_tokens": _Input(1, 20_000, "tokens", _workload("output_tokens")),
    "peak_to_mean": _Input(1, 1_000, "times the mean", _workload("peak_to_mean")),
    "cached_input_share": _Input(0.001, 1, "of the prompt", _workload("cached_input_share")),
    "gpu_usd_per_hour": _Input(0.01, 100, "US dollars per GPU-hour", _own("gpu_usd_per_hour", is_money=True)),
    "requests_per_s_per_replica": _Input(0.001, 10_000, "requests/s", _own("requests_per_s_per_replica")),
    "tokenizer_ratio": _Input(0.1, 10, "API tokens per own token", _tokenizer),
    "api_price_ratio": _Input(0.001, 1_000, "times today's price", _price_ratio),
    "hours_per_month": _Input(0.01, 1_000, "hours of operations a month", _operations("hours_per_month")),
    "usd_per_hour": _Input(0.01, 10_000, "US dollars per hour of work", _operations("usd_per_hour", is_money=True)),
    "setup_hours": _Input(0.01, 100_000, "hours", _operations("setup_hours")),
    "training_usd": _Input(0.01, 1e7, "US dollars per run", _training),
    "retrains_per_year": _Input(0.01, 3_650, "a year", _retrains),
    "own_accepted": _Input(0.01, 1, "of the answers", _quality("own_accepted")),
    "api_accepted": _Input(0.01, 1, "of the answers", _quality("api_accepted")),
}
"""Which inputs can be solved for, and where the answer is looked for."""


def solve(scenario: Scenario, name: str, points: list[CrossingPoint], searched_requests: tuple[float, float]) -> Solved:
    """Return all values of an input at which the API and self-hosting cost the same, everything else as given.

    Args:
        scenario: With prices.
        name: A key of `SOLVABLE`.
        points: The crossings by volume.
        searched_requests: The volumes between which they were searched.
    """
    wanted = SOLVABLE[name]
    low, high = (wanted.low, wanted.high) if name != "requests_per_month" else searched_requests

    def own_minus_api(value: float) -> float:
        try:
            made = (
                scenario if name == "api_price_ratio" else build_scenario(_only_two(wanted.put(scenario.inputs, value)))
            )
        except SpecError:
            return math.nan  # such as a prompt for which the GPU has no room
        draw = replace(made.expected, api_price=value) if name == "api_price_ratio" else made.expected
        return float(made.own.monthly_usd(draw, made.shared) - made.api.monthly_usd(draw, made.shared))

    if name == "requests_per_month":
        values = tuple(point.requests_per_month for point in points if point.option == scenario.own.name)
    else:
        difference = np.vectorize(own_minus_api, otypes=[float])
        values = tuple(point.at for point in crossings(difference, low, high, points=200))
    return Solved(
        input=name,
        values=values,
        unit=wanted.unit,
        searched=(low, high),
        cheaper_at_low=scenario.own.name if own_minus_api(low) < 0 else scenario.api.name,
    )


def _only_two(inputs: Inputs) -> Inputs:
    return replace(inputs, dedicated=None, serverless=None, other_apis=())
