"""A budget for an evaluation: which targets are billed, and one meter for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol, runtime_checkable

from ftsdk._spend import SpendMeter
from ftsdk.errors import SpecError
from ftsdk.evals.generation import Generator
from ftsdk.evals.targets import Target
from ftsdk.evals.wrapped_targets import innermost
from ftsdk.spec import TokenPrice
from ftsdk.spec.amounts import check_amount

__all__ = ["BilledTarget", "CanMeter", "meter_for"]


@runtime_checkable
class BilledTarget(Protocol):
    """An optional ability of a target: its answers cost money."""

    @property
    def price(self) -> TokenPrice | None:
        """What its tokens cost; None: not known, so there can be no budget."""
        ...


@runtime_checkable
class CanMeter(Protocol):
    """An optional ability of a generator: requests that are paid from a budget."""

    def metered(self, meter: SpendMeter) -> Generator:
        """Return a generator that sets money aside before each request, and raises `BudgetExceededError` without."""
        ...


def meter_for(targets: Sequence[Target], budget_usd: Decimal | float | None) -> SpendMeter | None:
    """Return the meter of an evaluation; None: there is no budget.

    Raises:
        SpecError: The budget is no positive number, or the price of a target that is billed isn't known.
    """
    if budget_usd is None:
        return None
    check_amount("budget_usd", budget_usd, above=0)
    for target in targets:
        asked = innermost(target)
        if isinstance(asked, BilledTarget) and asked.price is None:
            raise SpecError(
                f"budget_usd={budget_usd} can't be kept, because the price of {target.name} isn't known; nothing was "
                "asked. Pass Endpoint(price=TokenPrice(input_usd_per_mtok=..., output_usd_per_mtok=...)), "
                "or api_price(...).token_price() for a row of the price book; a server of your own costs 0"
            )
    return SpendMeter(Decimal(str(budget_usd)))
