"""The budget of a run: refused before the start, watched in flight. What is owed is computed one way, on every backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ftsdk.backends.base import Event, Plan, RunStatus, StateEvent, StepEvent
from ftsdk.backends.estimates import Accrual
from ftsdk.errors import BudgetExceededError

__all__ = ["BudgetWatch", "accrued_usd", "refuse_over_budget"]


def refuse_over_budget(plan: Plan, budget_usd: Decimal) -> None:
    """Refuse a run that could cost more than the budget.

    A service that gives its own, exact estimate at submit() is refused here only if even the least is too much: its word replaces ours.

    Raises:
        BudgetExceededError: It could.
    """
    cost = plan.cost
    if cost is None:
        return
    is_asked_again = plan.estimate is not None and plan.estimate.billed_tokens is not None
    most, word = (cost.low, "at least") if is_asked_again else (cost.high, "up to")
    if most > budget_usd:
        raise BudgetExceededError(
            f"the run may cost {word} ${most:.2f} (likely ${cost.likely:.2f}; {cost.source}), more than budget_usd={budget_usd}. "
            "Train on less, on a smaller model, or raise the budget."
        )


def accrued_usd(accrual: Accrual | None, *, seconds: float, share_done: float, price_usd: Decimal | None) -> Decimal | None:
    """Say what a run has cost so far.

    Args:
        accrual: How its cost grows; None if that isn't known.
        seconds: Since it began to run.
        share_done: Of the training, 0 to 1.
        price_usd: What the place itself says that the run has cost, which counts before anything computed.

    Returns:
        US dollars, or None if nothing tells.
    """
    if price_usd is not None:
        return price_usd
    if accrual is None:
        return None
    if accrual.kind == "per_hour":
        return accrual.fixed_usd + accrual.usd * Decimal(str(max(0.0, seconds))) / 3600
    return max(accrual.fixed_usd, accrual.usd * Decimal(str(min(1.0, max(0.0, share_done)))))


@dataclass(kw_only=True)
class BudgetWatch:
    """Follows one run's cost from its events. Holds no clock: every look says what time it is.

    Args:
        budget_usd: The most that the run may cost.
        accrual: How its cost grows.
    """

    budget_usd: Decimal
    accrual: Accrual | None
    _began_at: float | None = None
    _last_at: float = 0.0
    _share: float = 0.0
    _first_look: tuple[float, float] | None = None

    def saw(self, events: Sequence[Event]) -> None:
        """Take in events, in order, each once."""
        for event in events:
            self._last_at = max(self._last_at, event.at)
            if isinstance(event, StateEvent) and event.state == "running" and self._began_at is None:
                self._began_at = event.at
            if isinstance(event, StepEvent) and event.total_steps:
                self._share = max(self._share, event.step / event.total_steps)

    def owed_usd(self, status: RunStatus, *, clock_s: float) -> Decimal | None:
        """Say what the run has cost by now.

        Args:
            status: Where it is.
            clock_s: The time of the look; only differences between looks count.
        """
        is_going = status.state in ("running", "finalizing", "cancelling")
        if is_going and self._first_look is None:
            # Up to here the events say how long it has run; from here on the clock does.
            self._first_look = (clock_s, max(0.0, self._last_at - self._began_at) if self._began_at is not None else 0.0)
        seconds = 0.0 if self._began_at is None else max(0.0, self._last_at - self._began_at)
        if self._first_look is not None:
            seconds = max(seconds, self._first_look[1] + clock_s - self._first_look[0])
        share = 1.0 if status.state == "succeeded" else self._share
        return accrued_usd(self.accrual, seconds=seconds, share_done=share, price_usd=status.price_usd)

    def is_over(self, status: RunStatus, *, clock_s: float) -> Decimal | None:
        """Give what is owed if that is as much as the budget or more, and None otherwise."""
        owed = self.owed_usd(status, clock_s=clock_s)
        return owed if owed is not None and owed >= self.budget_usd else None

    def overspend_bound_usd(self, interval_s: float) -> Decimal:
        """The most that may be spent beyond the budget before a look sees it: what one interval between two looks costs."""
        if self.accrual is None or self.accrual.kind != "per_hour":
            return Decimal(0)
        return self.accrual.usd * Decimal(str(interval_s)) / 3600
