"""When a worker stops before the training is done: the user cancelled the run, or it has cost its whole budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk._format import money
from ftsdk.protocol import Event, StateEvent
from ftsdk.protocol.estimates import BillingTerms
from ftsdk.protocol.meter import OVER_BUDGET, Meter, usd_for

__all__ = ["CANCEL", "CANCELLED_BY_USER", "INTERRUPT", "StopCondition", "is_billed_by_time"]

CANCEL = "cancel"
"""A file in the run's folder: the user has cancelled the run."""
INTERRUPT = "interrupt"
"""A file in the run's folder: the worker's time is nearly up, so it saves a checkpoint and exits, to be resumed later.

Whoever starts a worker removes it.
"""
CANCELLED_BY_USER = "cancelled by user"
"""The reason of the last event of a run that the user cancelled."""


def is_billed_by_time(request: Mapping[str, Any]) -> bool:
    """Return whether the worker's time is billed and only the worker itself can keep the budget.

    That is so if the launch request has a `usd_per_hour`.
    """
    return request["launch"].get("usd_per_hour") is not None


class StopCondition:
    """Checked after each step: whether to stop.

    `Run.wait` computes the same from the same events, but may not be running.

    Args:
        folder: The run's folder.
        request: The run's request, as submitted.
        events: The events of the run so far, those of earlier attempts too, since the budget covers all attempts.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        request: Mapping[str, Any],
        events: Sequence[Event],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._clock = clock
        budget = request["spec"].get("budget_usd")
        self._budget_usd = Decimal(str(budget)) if budget is not None and is_billed_by_time(request) else None
        usd = Decimal(request["launch"]["usd_per_hour"]) if self._budget_usd is not None else Decimal(0)
        terms = BillingTerms(kind="per_hour", usd=usd, fixed_usd=Decimal(0), source="the launch request")
        self.meter = Meter(terms=terms)
        """Measures the run; it has counted `events`."""
        self.meter.saw(events)

    def __call__(self) -> bool:
        """Return whether to stop now."""
        return (self._folder / CANCEL).exists() or self.is_over_budget()

    def is_interrupted(self) -> bool:
        """Return whether the worker has to save a checkpoint and leave."""
        return (self._folder / INTERRUPT).exists()

    def is_over_budget(self) -> bool:
        """Return whether all attempts together have cost the whole budget."""
        return self._budget_usd is not None and self._owed_usd() >= self._budget_usd

    def seconds_left(self) -> float | None:
        """Return the seconds that the budget still pays for; None if there is no budget to keep here."""
        if self._budget_usd is None or self.meter.terms is None:
            return None
        left = max(Decimal(0), self._budget_usd - self._owed_usd())
        return float(left / self.meter.terms.usd) * 3600

    def last_event(self) -> StateEvent:
        """Return the run's last event. If the run was cancelled and is over its budget, the reason is the budget."""
        terms = self.meter.terms
        if self._budget_usd is None or terms is None or not self.is_over_budget():
            return StateEvent(state="cancelled", reason=CANCELLED_BY_USER)
        unseen_s = max(self.meter.longest_pause_s, self._since_s())
        reason = (
            f"{money(self._owed_usd(), places=4)} is owed for {self._seconds():,.1f} s over all attempts at "
            f"${terms.usd} an hour, which reaches budget_usd={self._budget_usd.normalize():f}. The worker checks the "
            f"cost after each step, and the longest time between two events was {unseen_s:,.1f} s, so up to "
            f"{money(usd_for(terms, unseen_s), places=4)} may have been spent beyond the budget. The newest whole "
            "checkpoint, if there is one, is kept"
        )
        return StateEvent(state="cancelled", native=OVER_BUDGET, reason=reason)

    def _seconds(self) -> float:
        return self.meter.seconds + self._since_s()

    def _since_s(self) -> float:
        last_at = self.meter.last_at
        return max(0.0, self._clock() - last_at) if self.meter.is_going and last_at is not None else 0.0

    def _owed_usd(self) -> Decimal:
        owed = self.meter.owed_usd(seconds=self._seconds())
        assert owed is not None
        return owed
