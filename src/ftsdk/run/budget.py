"""The budget of a run: checked before it starts, and watched while it runs.

`ftsdk.protocol.meter` computes the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from ftsdk._format import money, money_over
from ftsdk.errors import BudgetExceededError
from ftsdk.protocol import Event, Plan, RunState, RunStatus
from ftsdk.protocol.estimates import BillingTerms
from ftsdk.protocol.meter import OVER_BUDGET, Meter, usd_for
from ftsdk.run.record import Record

__all__ = ["BudgetWatch", "budget_watch", "refuse_over_budget", "why_over_budget"]

_BILLED: frozenset[RunState] = frozenset({"running", "finalizing", "cancelling"})
"""States in which time is billed, also when there are no events."""


def refuse_over_budget(plan: Plan, budget_usd: Decimal, *, is_quoted: bool) -> None:
    """Refuse a run that could cost more than the budget.

    Args:
        plan: The plan with its estimate.
        budget_usd: The budget, in US dollars.
        is_quoted: The backend quotes an exact price at submit() (`CanQuote`), which replaces our estimate. Only the
            lower end counts here then.

    Raises:
        BudgetExceededError: The run could cost more.
    """
    cost = plan.cost
    if cost is None:
        return
    most, word = (cost.low, "at least") if is_quoted else (cost.high, "up to")
    if most > budget_usd:
        raise BudgetExceededError(
            f"the run may cost {word} {money_over(most, budget_usd)} (likely "
            f"{money(cost.likely, places=2)}; {cost.source}), more "
            f"than budget_usd={budget_usd}. "
            "Train on less, on a smaller model, or raise the budget.",
            budget_usd=budget_usd,
        )


@dataclass(kw_only=True)
class BudgetWatch:
    """Follows one run's cost from its events, and between them by the clock time that each poll passes in.

    Args:
        budget_usd: The most that the run may cost, in US dollars.
        terms: How its cost grows.
        submitted_at: When it was submitted, in seconds since the epoch: a provider that bills the start of a run bills
            from there.
    """

    budget_usd: Decimal
    terms: BillingTerms | None
    submitted_at: float | None = None
    _meter: Meter = field(init=False)
    _seconds: float = 0.0
    _going_at: float | None = None
    """The clock at the last poll, if the run was billed then."""
    _most_at_once: float = 0.0
    """The largest share of the training that was done between two polls."""

    def __post_init__(self) -> None:
        self._meter = Meter(terms=self.terms, submitted_at=self.submitted_at)

    def saw(self, events: Sequence[Event]) -> None:
        """Take in the events since the last poll, in order, each once."""
        before = self._meter.share_done
        self._meter.saw(events)
        self._most_at_once = max(self._most_at_once, self._meter.share_done - before)

    def owed_usd(self, status: RunStatus, *, clock_s: float) -> Decimal | None:
        """Return what the run has cost by now, in US dollars; None if that isn't known.

        Args:
            status: Its status.
            clock_s: The time of the poll, in seconds; only differences between polls count.
        """
        # At least what the events say: time is billed between events, too.
        if self._going_at is not None:
            self._seconds += max(0.0, clock_s - self._going_at)
        self._seconds = max(self._seconds, self._meter.seconds)
        self._going_at = clock_s if status.state in _BILLED else None
        return self._meter.owed_usd(seconds=self._seconds, price_usd=status.price_usd)

    def is_over(self, status: RunStatus, *, clock_s: float) -> Decimal | None:
        """Return what the run has cost if it must be stopped, and None otherwise.

        A run that is billed by the hour is stopped when it reaches its budget, since its cost goes on growing. A price
        for the whole run, such as a provider's minimum, doesn't grow: a run whose price equals its budget may finish.
        """
        owed = self.owed_usd(status, clock_s=clock_s)
        if owed is None or owed < self.budget_usd:
            return None
        is_by_time = status.price_usd is None and self.terms is not None and self.terms.kind == "per_hour"
        return owed if is_by_time or owed > self.budget_usd else None

    def overspend_bound_usd(self, interval_s: float | None = None) -> Decimal:
        """Return the most that may be spent beyond the budget before a poll sees it.

        The cost of one interval, by time or by share.

        Args:
            interval_s: Seconds between two polls; None means the longest time between two events, which is how often
                its worker checks.
        """
        if self.terms is not None and self.terms.kind == "per_share":
            return self.terms.usd * Decimal(str(self._most_at_once))
        return usd_for(self.terms, self._meter.longest_pause_s if interval_s is None else interval_s)

    def why_cancelled(self, owed_usd: Decimal | None, *, interval_s: float) -> str:
        """Return the reason that is recorded with a cancelled run.

        Args:
            owed_usd: What it had cost when it was stopped.
            interval_s: Seconds between two polls.
        """
        owed = "an unknown amount" if owed_usd is None else money(owed_usd, places=4)
        return (
            f"it had cost {owed}, which reaches budget_usd={self.budget_usd}, and was cancelled; it was polled every "
            f"{interval_s:g} s, so up to {money(self.overspend_bound_usd(interval_s), places=4)} may have been spent "
            "beyond the budget. The latest complete checkpoint, if there is one, is kept"
        )

    def error(
        self, ref: str, status: RunStatus, reason: str, *, clock_s: float, interval_s: float
    ) -> BudgetExceededError:
        """Return the error for a run that was stopped because of its budget, by a client or by its own worker.

        Args:
            ref: The run's ref.
            status: Its status.
            reason: From `why_cancelled` or from the worker.
            clock_s: The time, as for `owed_usd`.
            interval_s: Seconds between two polls of a client.
        """
        owed = self.owed_usd(status, clock_s=clock_s)
        # An earlier process may have counted more than the events show: at least the budget, unless the provider states
        # a price.
        total = status.price_usd if status.price_usd is not None else max(owed or self.budget_usd, self.budget_usd)
        at = f", at {money(total, places=4)}" if total == owed else ""
        return BudgetExceededError(
            f"run {ref} has reached its budget and is {status.state}{at}: {reason}. To finish it, raise budget_usd and "
            "submit the job again.",
            accrued_usd=total,
            budget_usd=self.budget_usd,
            bound_usd=self.overspend_bound_usd(None if status.native == OVER_BUDGET else interval_s),
        )


def budget_watch(plan: Plan, *, submitted_at: float | None) -> BudgetWatch | None:
    """Return a watch on the plan's budget, or None if it has none."""
    if plan.spec.budget_usd is None:
        return None
    terms = None if plan.estimate is None else plan.estimate.billing_terms
    return BudgetWatch(budget_usd=plan.spec.budget_usd, terms=terms, submitted_at=submitted_at)


def why_over_budget(record: Record, status: RunStatus) -> str:
    """Return why the budget stopped a run; empty if it didn't."""
    if status.state in ("succeeded", "failed") or record.submitted_at is None:
        return ""
    return status.reason if status.native == OVER_BUDGET else record.reason
