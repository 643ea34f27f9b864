"""The arguments of `crossover`, checked and made of one type each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from ftsdk._numbers import exact_amount
from ftsdk.cost.comparison.workload import Api, Dedicated, Operations, Quality, SelfHosted, Serverless, Workload
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.errors import SpecError
from ftsdk.protocol import CostRange
from ftsdk.spec.amounts import check_amount

__all__ = ["HasCost", "Inputs", "check_integer", "check_not_negative", "training_cost"]


class HasCost(Protocol):
    """An estimate, as far as `training=` reads it."""

    @property
    def cost(self) -> CostRange | None:
        """US dollars of one training run; None if unknown, or if nothing is billed."""
        ...

    @property
    def cost_note(self) -> str:
        """Why there is no cost."""
        ...


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything a crossover is asked, before any price is looked up."""

    workload: Workload
    api: Api
    self_hosted: SelfHosted
    other_apis: tuple[Api, ...] = ()
    dedicated: Dedicated | None = None
    serverless: Serverless | None = None
    training: CostRange
    retrains_per_year: float = 0.0
    operations: Operations
    quality: Quality
    book: PriceBook


def training_cost(training: HasCost | CostRange | Decimal | float | None) -> CostRange:
    """Return the cost of one training run as a range in US dollars; None is $0, and the source says so.

    Raises:
        SpecError: It isn't an amount, its ends are out of order, or it is an estimate without a cost.
    """
    zero = Decimal(0)
    if training is None:
        return CostRange(low=zero, likely=zero, high=zero, source="not given: training is left out")
    if isinstance(training, CostRange):
        return _ordered(training)
    if isinstance(training, bool) or not (isinstance(training, (int, float, Decimal)) or hasattr(training, "cost")):
        raise SpecError(
            f"training={training!r} isn't US dollars of one run: give a number, such as 12.5, a CostRange, or "
            "job.estimate()"
        )
    if isinstance(training, (int, float, Decimal)):
        likely = exact_amount(training)
        if not likely.is_finite() or likely < 0:
            raise SpecError(f"training={training} isn't an amount of US dollars; give a number from 0 up")
        if likely.adjusted() > 100:
            raise SpecError("training: the numbers are too far apart to compare; give US dollars of one run")
        return CostRange(
            low=likely * Decimal("0.7"),
            likely=likely,
            high=likely * Decimal("1.5"),
            source="given in the call, x0.7 to x1.5",
        )
    if training.cost is None:
        raise SpecError(
            f"training: the estimate has no cost ({training.cost_note or 'the backend gives no reason'}), and an "
            "unknown cost isn't "
            "taken as $0. Price the hardware with job.estimate(usd_per_hour=1.5), ask the provider with "
            "job.estimate(live=True), or "
            "give US dollars; training=0 if it costs you nothing"
        )
    return _ordered(training.cost)


def check_integer(name: str, given: object) -> int:
    """Return a whole number.

    Raises:
        SpecError: It isn't one.
    """
    if isinstance(given, bool) or not isinstance(given, int):
        raise SpecError(f"{name}={given!r} isn't a whole number")
    check_amount(name, abs(given), at_least=0)
    return given


def check_not_negative(name: str, given: object) -> None:
    """Check that a number is finite and at least 0.

    Raises:
        SpecError: It isn't.
    """
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise SpecError(f"{name}={given!r} isn't a number")
    if isinstance(given, int):
        check_amount(name, abs(given), at_least=0)
    if not math.isfinite(given) or given < 0:
        raise SpecError(f"{name}={given} must be finite and at least 0")


def _ordered(cost: CostRange) -> CostRange:
    if not 0 <= cost.low <= cost.likely <= cost.high:
        raise SpecError(
            f"training: low={cost.low}, likely={cost.likely}, high={cost.high} must be in this order, and none below 0"
        )
    return cost
