"""API or a model of your own: the one question, asked with prices, volume, people, quality and doubt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from ftsdk.cost.comparison.answer import CostLine, CrossingPoint, CrossoverAnswer, Curve, Likelihood, OptionCost
from ftsdk.cost.comparison.case import Case, HasCost, Question, build_case, distributions
from ftsdk.cost.comparison.crossings import crossings
from ftsdk.cost.comparison.finance import net_present_value_usd, payback_months
from ftsdk.cost.comparison.monte_carlo import draw_scenarios, percentiles, tornado
from ftsdk.cost.comparison.options import AlwaysOn, Draw, Option, Sleeping
from ftsdk.cost.comparison.solve import SOLVABLE, solve
from ftsdk.cost.comparison.workload import Api, Dedicated, Operations, Quality, SelfHosted, Serverless, Workload
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.errors import SpecError
from ftsdk.protocol import CostRange
from ftsdk.spec.base import nearest

__all__ = ["crossover"]

_LEAST_REQUESTS = 1_000.0
_MOST_REQUESTS = 1e9
_PAYBACK_HORIZON_MONTHS = 120


def crossover(
    *,
    workload: Workload,
    api: str | Api,
    self_hosted: SelfHosted,
    training: HasCost | CostRange | Decimal | float | None = None,
    retrains_per_year: float = 0.0,
    dedicated: Dedicated | None = Dedicated(),  # noqa: B008  (frozen)
    serverless: Serverless | None = Serverless(),  # noqa: B008
    other_apis: Sequence[str | Api] = (),
    operations: Operations = Operations(),  # noqa: B008
    quality: Quality = Quality(),  # noqa: B008
    solve_for: str | None = None,
    scenarios: int = 100_000,
    seed: int = 0,
    discount_per_year: float = 0.10,
    book: PriceBook | None = None,
) -> CrossoverAnswer:
    """Compare an API with a model of your own, over volume and under doubt.

    Args:
        workload: The traffic.
        api: The API that you would use otherwise, such as `anthropic/claude-haiku-4-5`.
        self_hosted: Your own model on rented GPUs.
        training: What one training run costs: dollars, a range, or `job.estimate()`; None leaves it out and says so.
        retrains_per_year: How often it is trained again.
        dedicated: The third option, a managed endpoint; None leaves it out.
        serverless: The fourth, GPUs that stop when idle; None leaves it out.
        other_apis: Further APIs to show beside.
        operations: What people cost.
        quality: How often answers are good enough.
        solve_for: One input to solve for, such as `requests_per_month` or `gpu_usd_per_hour`: at which values do both cost the same?
        scenarios: How many are drawn.
        seed: Of the drawing; the same seed gives the same answer.
        discount_per_year: For the net present value; 0.1 is 10 %.
        book: Prices; None loads all layers.

    Raises:
        SpecError: A price, GPU or model isn't known, an amount or a number is impossible, `training` is an estimate without a cost, or the volume is
            missing and isn't what is solved for.
        MissingExtraError: The package with API prices isn't installed.
    """
    if solve_for is not None and solve_for not in SOLVABLE:
        raise SpecError(f"can't solve for {solve_for!r}{nearest(solve_for, set(SOLVABLE))}")
    if _whole("scenarios", scenarios) < 100:
        raise SpecError(f"scenarios={scenarios} is too few to tell a probability; give at least 100")
    if _whole("seed", seed) < 0:
        raise SpecError(f"seed={seed} can't be negative: take any whole number from 0 up")
    _at_least_0("retrains_per_year", retrains_per_year)
    _at_least_0("discount_per_year", discount_per_year)
    question = Question(
        workload=workload,
        api=_api(api),
        self_hosted=self_hosted,
        other_apis=tuple(_api(other) for other in other_apis),
        dedicated=dedicated,
        serverless=serverless,
        training=_training(training),
        retrains_per_year=retrains_per_year,
        operations=operations,
        quality=quality,
        book=book or PriceBook.load(),
    )
    case = build_case(question)
    largest = max(_MOST_REQUESTS, 100 * float(case.expected.requests))
    points = [point for option in case.options[1:] for point in _crossings(case, option, largest)]
    if workload.requests_per_month is None:
        if solve_for != "requests_per_month":
            raise SpecError("Workload needs requests_per_month, unless it is solved for: crossover(..., solve_for='requests_per_month')")
        own_points = [point.requests_per_month for point in points if point.option == case.own.name]
        # At the break-even volume the rest of the answer is about a tie, which is what was asked for.
        question = replace(question, workload=workload.replace(requests_per_month=own_points[0] if own_points else 1_000_000.0))
        case = build_case(question)
    return _answer(case, points, largest, solve_for=solve_for, scenarios=scenarios, seed=seed, discount_per_year=discount_per_year)


def _api(api: str | Api) -> Api:
    return Api(model=api) if isinstance(api, str) else api


def _whole(name: str, given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise SpecError(f"{name}={given!r} isn't a whole number")
    return given


def _at_least_0(name: str, given: object) -> None:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise SpecError(f"{name}={given!r} isn't a number")
    if not math.isfinite(given) or given < 0:
        raise SpecError(f"{name}={given} must be a number from 0 up, and finite")


def _training(training: HasCost | CostRange | Decimal | float | None) -> CostRange:
    zero = Decimal(0)
    if training is None:
        return CostRange(low=zero, likely=zero, high=zero, source="not given: training is left out")
    if isinstance(training, (bool, str)) or not (
        isinstance(training, (int, float, Decimal)) or hasattr(training, "cost") or hasattr(training, "likely")
    ):
        raise SpecError(f"training={training!r} isn't US dollars of one run: give a number, such as 12.5, a CostRange, or job.estimate()")
    if isinstance(training, (int, float, Decimal)):
        likely = Decimal(str(training))
        if not likely.is_finite() or likely < 0:
            raise SpecError(f"training={training} isn't an amount of US dollars")
        return CostRange(low=likely * Decimal("0.7"), likely=likely, high=likely * Decimal("1.5"), source="given in the call, x0.7 to x1.5")
    cost = training if isinstance(training, CostRange) else training.cost
    if cost is None:
        assert not isinstance(training, CostRange)
        raise SpecError(
            f"training: the estimate has no cost ({training.cost_note or 'its backend says none'}), and what isn't known isn't taken for $0. "
            "Give the hardware a price, job.estimate(usd_per_hour=1.5), ask the place, job.estimate(live=True), or give US dollars; "
            "training=0 if it costs you nothing"
        )
    if not 0 <= cost.low <= cost.likely <= cost.high:
        raise SpecError(f"training: low={cost.low}, likely={cost.likely}, high={cost.high} must be in this order, and none below 0")
    return cost


def _crossings(case: Case, option: Option, largest: float) -> list[CrossingPoint]:
    def difference(requests: Any) -> Any:
        draw = case.at(requests)
        return option.monthly_usd(draw, case.common) - case.api.monthly_usd(draw, case.common)

    breaks = option.steps(case.at(1.0), case.common, largest) if isinstance(option, AlwaysOn) else ()
    return [
        CrossingPoint(
            option=option.name,
            requests_per_month=point.at,
            cheaper_above=case.api.name if point.is_rising else option.name,
            usd_per_month=_usd(case.api.monthly_usd(case.at(point.at), case.common)),
        )
        for point in crossings(difference, _LEAST_REQUESTS, largest, breaks=breaks)
    ]


def _answer(
    case: Case, points: list[CrossingPoint], largest: float, *, solve_for: str | None, scenarios: int, seed: int, discount_per_year: float
) -> CrossoverAnswer:
    question, common, expected = case.question, case.common, case.expected

    def saving(draw: Draw) -> float:
        return float(case.api.monthly_usd(draw, common) - case.own.monthly_usd(draw, common))

    stated = distributions(case)
    drawn = draw_scenarios(stated, expected, scenarios=scenarios, seed=seed)
    costs = {option.name: np.broadcast_to(option.monthly_usd(drawn.draw, common), (scenarios,)) for option in case.options}
    savings = costs[case.api.name] - costs[case.own.name]
    cheapest = np.argmin(np.stack(list(costs.values())), axis=0)
    upfront = float(common.setup_usd(expected))
    months = _savings_by_month(case)
    return CrossoverAnswer(
        workload=question.workload,
        api=question.api,
        self_hosted=question.self_hosted,
        operations=question.operations,
        quality=question.quality,
        retrains_per_year=question.retrains_per_year,
        options=tuple(_option_cost(case, option) for option in case.options),
        crossings=tuple(points),
        searched_requests=(_LEAST_REQUESTS, largest),
        saving_usd_per_month=_usd(saving(expected)),
        upfront_usd=_usd(upfront),
        payback_months=payback_months(upfront_usd=upfront, savings_usd=months),
        npv_12_months_usd=_usd(net_present_value_usd(upfront_usd=upfront, savings_usd=months[:12], discount_per_year=discount_per_year)),
        npv_36_months_usd=_usd(net_present_value_usd(upfront_usd=upfront, savings_usd=months[:36], discount_per_year=discount_per_year)),
        discount_per_year=discount_per_year,
        likelihood=Likelihood(
            scenarios=scenarios,
            seed=seed,
            p_self_hosted_cheaper=float(np.mean(savings > 0)),
            p_cheapest={name: float(np.mean(cheapest == n)) for n, name in enumerate(costs)},
            saving_usd_per_month=percentiles(savings),
            usd_per_month={name: percentiles(values) for name, values in costs.items()},
        ),
        swings=tornado(expected, drawn.by_input, saving=saving),
        distributions=stated,
        assumptions=_assumptions(question),
        notes=(*case.notes, *_lopsided(saving(expected), savings)),
        solved=None if solve_for is None else solve(case, solve_for, points, (_LEAST_REQUESTS, largest)),
        curves=_curves(case, points, largest),
    )


def _lopsided(expected_saving: float, savings: Any) -> tuple[str, ...]:
    """The expected case and most scenarios may disagree: say so, or a reader takes it for an error."""
    middle = float(np.median(savings))
    if (expected_saving > 0) == (middle > 0):
        return ()
    sides = ("self-hosting", "the API") if expected_saving > 0 else ("the API", "self-hosting")
    return (f"as expected {sides[0]} is cheaper, but in most scenarios {sides[1]} is: the doubts lie mostly on one side (see what matters)",)


def _savings_by_month(case: Case) -> list[float]:
    """Without the beginning, which is paid at once; the volume grows as the workload says."""
    growth = (1 + case.question.workload.growth_per_year) ** (1 / 12)
    months = case.expected.requests * growth ** np.arange(_PAYBACK_HORIZON_MONTHS)
    draw = case.at(months)
    spread = case.common.setup_usd(case.expected) / case.common.operations.setup_months
    running = case.own.monthly_usd(draw, case.common) - spread
    return [float(saving) for saving in case.api.monthly_usd(draw, case.common) - running]


def _option_cost(case: Case, option: Option) -> OptionCost:
    lines = option.lines(case.expected, case.common)
    total = float(sum(line.usd for line in lines))
    note = ""
    if isinstance(option, Sleeping):
        share = float(option.cold_share(case.expected, case.common))
        note = f"{share:.1%} of the requests wait {option.cold_start_s:.0f} s for a cold start"
    if isinstance(option, AlwaysOn):
        replicas = float(option.replicas_for(case.expected, case.common))
        mean = case.common.own_requests(case.expected) * option.adapters / (730 * 3600)
        note = f"{replicas:.0f} replica(s), {mean / (replicas * option.replica.requests_per_s):.1%} used on average"
    return OptionCost(
        name=option.name,
        label=option.label,
        usd_per_month=_usd(total),
        # Every option ends with as many good answers as there were requests: by asking again, falling back, or a person.
        usd_per_1k_accepted=_usd(1000 * total / float(case.expected.requests), places=4),
        lines=tuple(CostLine(label=line.label, usd=_usd(line.usd), detail=line.detail, source=line.source, as_of=line.as_of) for line in lines),
        capacity=case.capacities.get(option.name),
        note=note,
    )


def _curves(case: Case, points: list[CrossingPoint], largest: float) -> tuple[Curve, ...]:
    """Over the volumes that somebody would look at: up to beyond the expected one and the first crossings."""
    expected = float(case.expected.requests)
    own = [point.requests_per_month for point in points if point.option == case.own.name]
    near = [volume for volume in own[:3] if volume < 50 * expected]
    low, high = _LEAST_REQUESTS, min(largest, 2.2 * max(expected, *near) if near else 3 * expected)
    curves: list[Curve] = []
    for option in case.options:
        volumes = np.linspace(min(low, high / 100), high, 400)
        if isinstance(option, AlwaysOn):
            steps = np.asarray(option.steps(case.at(1.0), case.common, high))
            volumes = np.unique(np.concatenate([volumes, steps, steps * (1 + 1e-7)]))
            volumes = volumes[(volumes >= low) & (volumes <= high)]
        usd = np.broadcast_to(option.monthly_usd(case.at(volumes), case.common), volumes.shape)
        curves.append(Curve(option=option.name, requests_per_month=tuple(map(float, volumes)), usd_per_month=tuple(map(float, usd))))
    return tuple(curves)


def _assumptions(question: Question) -> tuple[str, ...]:
    """Everything that was taken and not given, by name."""
    values = {
        "workload": question.workload,
        "api": question.api,
        "self_hosted": question.self_hosted,
        "dedicated": question.dedicated,
        "serverless": question.serverless,
        "operations": question.operations,
        "quality": question.quality,
    }
    taken = [
        f"{name}.{field} = {getattr(value, field)}"
        for name, value in values.items()
        if value is not None
        for field in type(value).model_fields
        if field not in value.model_fields_set and getattr(value, field) is not None and field != "source"
    ]
    return (*taken, f"training: {question.training.source}")


def _usd(amount: Any, places: int = 2) -> Decimal:
    return round(Decimal(repr(float(amount))), places)
