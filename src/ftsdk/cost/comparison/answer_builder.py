"""From a scenario to the answer of a crossover."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, assert_never

import numpy as np

from ftsdk.cost.comparison.answer import CostLine, CrossingPoint, CrossoverAnswer, Likelihood, OptionCost
from ftsdk.cost.comparison.cost_curves import LEAST_REQUESTS, cost_curves
from ftsdk.cost.comparison.finance import net_present_value_usd, payback_months
from ftsdk.cost.comparison.inputs import Inputs
from ftsdk.cost.comparison.monte_carlo import draw_samples, percentiles, tornado
from ftsdk.cost.comparison.options import MONTH_S, AlwaysOn, Draw, Option, PerToken, ScaleToZero
from ftsdk.cost.comparison.scenario import Scenario
from ftsdk.cost.comparison.solve import solve
from ftsdk.cost.comparison.uncertainty import distributions

__all__ = ["build_answer"]

_PAYBACK_HORIZON_MONTHS = 120


def build_answer(
    scenario: Scenario,
    points: list[CrossingPoint],
    largest: float,
    *,
    solve_for: str | None,
    scenarios: int,
    seed: int,
    discount_per_year: float,
) -> CrossoverAnswer:
    """Return the answer.

    Args:
        scenario: With prices, at the expected volume.
        points: The crossings with the API.
        largest: The largest volume that was searched for them, in requests a month.
        solve_for: The input to solve for.
        scenarios: How many scenarios are drawn.
        seed: Seed of the drawing.
        discount_per_year: For the net present value.
    """
    inputs, shared, expected = scenario.inputs, scenario.shared, scenario.expected

    def saving(draw: Draw) -> float:
        return float(scenario.api.monthly_usd(draw, shared) - scenario.own.monthly_usd(draw, shared))

    stated = distributions(scenario)
    samples = draw_samples(stated, expected, scenarios=scenarios, seed=seed)
    costs = {
        option.name: np.broadcast_to(option.monthly_usd(samples.draw, shared), (scenarios,))
        for option in scenario.options
    }
    savings = costs[scenario.api.name] - costs[scenario.own.name]
    upfront = float(shared.setup_usd(expected))
    months = _savings_by_month(scenario)
    npv_12, npv_36 = (
        net_present_value_usd(upfront_usd=upfront, savings_usd=months[:n], discount_per_year=discount_per_year)
        for n in (12, 36)
    )
    searched = (LEAST_REQUESTS, largest)
    return CrossoverAnswer(
        workload=inputs.workload,
        api=inputs.api,
        self_hosted=inputs.self_hosted,
        operations=inputs.operations,
        quality=inputs.quality,
        retrains_per_year=inputs.retrains_per_year,
        options=tuple(_option_cost(scenario, option) for option in scenario.options),
        crossings=tuple(points),
        searched_requests=searched,
        saving_usd_per_month=_usd(saving(expected)),
        upfront_usd=_usd(upfront),
        payback_months=payback_months(upfront_usd=upfront, savings_usd=months),
        npv_12_months_usd=_usd(npv_12),
        npv_36_months_usd=_usd(npv_36),
        discount_per_year=discount_per_year,
        likelihood=_likelihood(costs, savings, seed),
        swings=tornado(expected, samples.by_input, saving=saving),
        distributions=stated,
        assumptions=_assumptions(inputs),
        notes=(*scenario.notes, *_median_notes(saving(expected), savings)),
        solved=None if solve_for is None else solve(scenario, solve_for, points, searched),
        curves=cost_curves(scenario, points, largest),
    )


def _likelihood(costs: dict[str, Any], savings: Any, seed: int) -> Likelihood:
    cheapest = np.argmin(np.stack(list(costs.values())), axis=0)
    return Likelihood(
        scenarios=len(savings),
        seed=seed,
        p_self_hosted_cheaper=float(np.mean(savings > 0)),
        p_cheapest={name: float(np.mean(cheapest == n)) for n, name in enumerate(costs)},
        saving_usd_per_month=percentiles(savings),
        usd_per_month={name: percentiles(values) for name, values in costs.items()},
    )


def _median_notes(expected_saving: float, savings: Any) -> tuple[str, ...]:
    """Explain an expected case that disagrees with most scenarios: without a note a reader takes it for an error."""
    median = float(np.median(savings))
    if (expected_saving > 0) == (median > 0):
        return ()
    expected, most = ("self-hosting", "the API") if expected_saving > 0 else ("the API", "self-hosting")
    return (
        f"with every number as expected {expected} is cheaper, but in most scenarios {most} is: the uncertainty lies "
        "mostly on one "
        "side (see what matters)",
    )


def _savings_by_month(scenario: Scenario) -> list[float]:
    """Return the saving of each month without the setup, which is paid at once.

    The volume grows as the workload says.
    """
    shared = scenario.shared
    growth = (1 + scenario.inputs.workload.growth_per_year) ** (1 / 12)
    draw = scenario.at(scenario.expected.requests * growth ** np.arange(_PAYBACK_HORIZON_MONTHS))
    running = (
        scenario.own.monthly_usd(draw, shared) - shared.setup_usd(scenario.expected) / shared.operations.setup_months
    )
    return [float(saving) for saving in scenario.api.monthly_usd(draw, shared) - running]


def _option_cost(scenario: Scenario, option: Option) -> OptionCost:
    lines = option.lines(scenario.expected, scenario.shared)
    total = float(sum(line.usd for line in lines))
    return OptionCost(
        name=option.name,
        label=option.label,
        usd_per_month=_usd(total),
        # Every option ends with as many good answers as there were requests: by asking again, falling back, or a
        # person.
        usd_per_1k_accepted=_usd(1000 * total / float(scenario.expected.requests), places=4),
        lines=tuple(
            CostLine(label=line.label, usd=_usd(line.usd), detail=line.detail, source=line.source, as_of=line.as_of)
            for line in lines
        ),
        capacity=scenario.capacity(option),
        note=_usage(scenario, option),
    )


def _usage(scenario: Scenario, option: Option) -> str:
    """Describe how busy the GPUs are at the expected volume."""
    draw, shared = scenario.expected, scenario.shared
    match option:
        case PerToken():
            return ""
        case AlwaysOn():
            replica = option.cheapest(draw, shared)
            replicas = float(option.replicas_for(replica, draw, shared))
            mean = shared.own_requests(draw) * option.adapters / MONTH_S
            return f"{replicas:.0f} replica(s), {mean / (replicas * replica.requests_per_s):.1%} used on average"
        case ScaleToZero():
            replica = option.cheapest(draw, shared)
            share = float(option.cold_share(replica, draw, shared))
            return f"{share:.1%} of the requests wait {replica.cold_start_s:.0f} s for a cold start"
        case _:
            assert_never(option)


def _assumptions(inputs: Inputs) -> tuple[str, ...]:
    """Return every default that was used, by name."""
    values = {
        "workload": inputs.workload,
        "api": inputs.api,
        "self_hosted": inputs.self_hosted,
        "dedicated": inputs.dedicated,
        "serverless": inputs.serverless,
        "operations": inputs.operations,
        "quality": inputs.quality,
    }
    used = [
        f"{name}.{field} = {getattr(value, field)}"
        for name, value in values.items()
        if value is not None
        for field in type(value).model_fields
        if field not in value.model_fields_set and getattr(value, field) is not None and field != "source"
    ]
    return (*used, f"training: {inputs.training.source}")


def _usd(amount: Any, places: int = 2) -> Decimal:
    return round(Decimal(repr(float(amount))), places)
