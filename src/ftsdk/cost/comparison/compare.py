"""API or a model of your own.

The one question, answered with prices, volume, working hours, quality and uncertainty.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from ftsdk.cost.comparison.answer import CrossoverAnswer
from ftsdk.cost.comparison.answer_builder import build_answer
from ftsdk.cost.comparison.cost_curves import MOST_REQUESTS, break_even_points
from ftsdk.cost.comparison.inputs import HasCost, Inputs, check_integer, check_not_negative, training_cost
from ftsdk.cost.comparison.scenario import build_scenario
from ftsdk.cost.comparison.solve import SOLVABLE
from ftsdk.cost.comparison.workload import Api, Dedicated, Operations, Quality, SelfHosted, Serverless, Workload
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.errors import SpecError
from ftsdk.protocol import CostRange
from ftsdk.spec.base import nearest

__all__ = ["crossover"]

_DEFAULT_REQUESTS = 1_000_000.0
MOST_SCENARIOS = 10_000_000


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
    """Compare an API with a model of your own over volume, with the uncertainty of every number.

    Args:
        workload: The traffic.
        api: The API that you would use otherwise, such as `anthropic/claude-haiku-4-5`.
        self_hosted: Your own model on rented GPUs.
        training: US dollars of one training run, a range, or `job.estimate()`; None leaves it out, and the answer says
            so.
        retrains_per_year: How often the model is retrained.
        dedicated: The third option, a managed endpoint; None leaves it out.
        serverless: The fourth, GPUs that stop when idle; None leaves it out.
        other_apis: Further APIs to compare with.
        operations: Hours of work and what they cost.
        quality: How often answers are good enough.
        solve_for: One input, such as `requests_per_month` or `gpu_usd_per_hour`; the answer has its values at which
            both cost the same.
        scenarios: How many scenarios are drawn, at least 100.
        seed: Seed of the drawing; the same seed gives the same answer.
        discount_per_year: Rate for the net present value; 0.1 is 10%.
        book: Prices; None loads all layers.

    Raises:
        SpecError: A price, GPU or model isn't known, an amount or a number is impossible, `training` is an estimate
            without a cost, or the volume is missing and isn't solved for.
        MissingExtraError: The package with API prices isn't installed.
    """
    if solve_for is not None and solve_for not in SOLVABLE:
        raise SpecError(f"can't solve for {solve_for!r}{nearest(solve_for, set(SOLVABLE))}")
    if check_integer("scenarios", scenarios) < 100:
        raise SpecError(f"scenarios={scenarios} is too few for a probability; give at least 100")
    if scenarios > MOST_SCENARIOS:
        raise SpecError(f"scenarios={scenarios} takes too much memory; give at most {MOST_SCENARIOS:,}")
    if check_integer("seed", seed) < 0:
        raise SpecError(f"seed={seed} can't be negative: give any whole number from 0 up")
    check_not_negative("retrains_per_year", retrains_per_year)
    check_not_negative("discount_per_year", discount_per_year)
    compared = _api(api)
    if compared.accepted is not None:
        raise SpecError(
            f"api: accepted={compared.accepted} is for other_apis; the acceptance of the API that is compared is "
            "Quality(api_accepted=...)"
        )
    inputs = Inputs(
        workload=workload,
        api=compared,
        self_hosted=self_hosted,
        other_apis=tuple(_api(other) for other in other_apis),
        dedicated=dedicated,
        serverless=serverless,
        training=training_cost(training),
        retrains_per_year=retrains_per_year,
        operations=operations,
        quality=quality,
        book=book or PriceBook.load(),
    )
    with _refused_if_too_large():
        scenario = build_scenario(inputs)
        largest = max(MOST_REQUESTS, 100 * float(scenario.expected.requests))
        points = break_even_points(scenario, largest)
        if workload.requests_per_month is None:
            if solve_for != "requests_per_month":
                raise SpecError(
                    "Workload needs requests_per_month, unless it is solved for: crossover(..., "
                    "solve_for='requests_per_month')"
                )
            # At the break-even volume the rest of the answer is about a tie, which is what was asked for.
            volume = next((p.requests_per_month for p in points if p.option == scenario.own.name), _DEFAULT_REQUESTS)
            scenario = build_scenario(replace(inputs, workload=workload.replace(requests_per_month=volume)))
        return build_answer(
            scenario,
            points,
            largest,
            solve_for=solve_for,
            scenarios=scenarios,
            seed=seed,
            discount_per_year=discount_per_year,
        )


@contextmanager
def _refused_if_too_large() -> Generator[None]:
    """Raise `SpecError` in place of the errors of numbers that can't be added up any more."""
    try:
        yield
    except (OverflowError, InvalidOperation) as error:
        raise SpecError(
            "the numbers are too far apart to compare: a cost is above 1e24 US dollars, or can't be computed. Check "
            "the largest and the smallest amounts, shares and counts"
        ) from error


def _api(api: str | Api) -> Api:
    return Api(model=api) if isinstance(api, str) else api
