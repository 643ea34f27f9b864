"""What asking models will cost, before anything is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ftsdk._format import money
from ftsdk._numbers import as_json_number
from ftsdk._rich_text import rich_text
from ftsdk.errors import BudgetExceededError, SpecError
from ftsdk.spec import Range, TokenPrice

__all__ = ["GrowthPlan", "ModelCost", "announce"]


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """What one model is asked, and the likely cost."""

    role: str
    """What it is for, such as "judge"; may be empty."""
    model: str
    """Name and address, without secrets."""
    is_billed: bool
    """Whether its answers cost money, as far as is known: those of an endpoint."""
    requests: int
    """Requests that will be sent."""
    kept: int
    """Requests whose answers are on disk, from an earlier call."""
    input_tokens: Range
    """Of all requests, estimated from their texts."""
    output_tokens: Range
    """Of all answers: likely, and as long as they may get."""
    price: TokenPrice | None
    paid_usd: Decimal
    """What the answers on disk have cost, in US dollars. They count towards the budget."""

    def usd(self) -> tuple[Decimal, Decimal] | None:
        """Return the likely and the highest cost in US dollars; None: not known."""
        if not self.is_billed or not self.requests:
            return Decimal(0), Decimal(0)
        if self.price is None:
            return None
        given, taken = self.input_tokens, self.output_tokens
        return (
            self.price.usd(input_tokens=given.likely, output_tokens=taken.likely),
            self.price.usd(input_tokens=given.high, output_tokens=taken.high),
        )

    def __str__(self) -> str:
        role = f"{self.role}: " if self.role else ""
        kept = f" ({self.kept:,} answers are on disk)" if self.kept else ""
        asked = f"{role}{self.requests:,} requests to {self.model}{kept}"
        if not self.is_billed:
            return f"{asked}; no price, as it isn't an endpoint"
        tokens = f"about {self.input_tokens.likely:,.0f} tokens in and {self.output_tokens.likely:,.0f} out"
        cost = self.usd()
        if cost is None or self.price is None:
            why = "cost unknown: Endpoint(price=TokenPrice(...)) states a price"
            return f"{asked}; {tokens}; {why}" if cost is None else f"{asked}; nothing to pay"
        rates = f"{money(self.price.input_usd_per_mtok)} in, {money(self.price.output_usd_per_mtok)} out"
        return (
            f"{asked}; {tokens}; about {money(cost[0])}, at most {money(cost[1])} "
            f"({rates} per million tokens; {self.price.source})"
        )

    __rich__ = rich_text


@dataclass(frozen=True, kw_only=True)
class GrowthPlan:
    """What a call is about to ask, and its cost. Prints as a line for each model."""

    call: str
    """Such as "augment"."""
    parts: tuple[ModelCost, ...]
    budget_usd: Decimal | None

    def check_budget(self) -> None:
        """Refuse a call that can't keep to its budget.

        Raises:
            SpecError: There is a budget, and the price of a model isn't known.
            BudgetExceededError: The likely cost is above the budget.
        """
        if self.budget_usd is None:
            return
        costs = [part.usd() for part in self.parts]
        for part, cost in zip(self.parts, costs, strict=True):
            if cost is None:
                raise SpecError(
                    f"budget_usd={self.budget_usd} can't be kept, because the price of {part.model} isn't known; pass "
                    "Endpoint(price=TokenPrice(input_usd_per_mtok=..., output_usd_per_mtok=...)), or "
                    "api_price(...).token_price() for a row of the price book"
                )
        likely = sum((cost[0] for cost in costs if cost is not None), Decimal(0))
        paid = sum((part.paid_usd for part in self.parts), Decimal(0))
        if likely and likely + paid > self.budget_usd:
            earlier = f" beside the {money(paid)} that earlier answers have cost" if paid else ""
            raise BudgetExceededError(
                f"{self.call} would cost about {money(likely)}{earlier}, more than budget_usd={self.budget_usd}; "
                f"nothing was asked. Ask for fewer rows, or raise the budget.\n{self}",
                budget_usd=self.budget_usd,
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return {
            "call": self.call,
            "budget_usd": None if self.budget_usd is None else as_json_number(self.budget_usd),
            "parts": [
                {
                    "role": part.role,
                    "model": part.model,
                    "requests": part.requests,
                    "kept": part.kept,
                    "input_tokens": part.input_tokens.to_dict(),
                    "output_tokens": part.output_tokens.to_dict(),
                    "price": None if part.price is None else part.price.to_dict(),
                    "usd": None if (cost := part.usd()) is None else [as_json_number(one) for one in cost],
                    "paid_usd": as_json_number(part.paid_usd),
                }
                for part in self.parts
            ],
        }

    def __str__(self) -> str:
        budget = "no budget" if self.budget_usd is None else f"budget {money(self.budget_usd)}"
        return "\n".join(f"{self.call}: {part}; {budget}" for part in self.parts)

    __rich__ = rich_text


def announce(plan: GrowthPlan, on_plan: Callable[[GrowthPlan], object] | None) -> None:
    """Hand a plan over, and refuse it if the budget can't hold: before anything is asked.

    Args:
        plan: The plan.
        on_plan: What takes it; None prints it to standard error.

    Raises:
        SpecError: There is a budget, and the price of a model isn't known.
        BudgetExceededError: The likely cost is above the budget.
    """
    plan.check_budget()
    if on_plan is None:
        sys.stderr.write(f"{plan}\n")
    else:
        on_plan(plan)
