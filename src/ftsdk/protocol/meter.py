"""What a run has cost so far: one computation, for the client that watches it and for the worker that stops itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ftsdk.protocol import TERMINAL, Event, StateEvent, StepEvent
from ftsdk.protocol.estimates import Accrual

__all__ = ["OVER_BUDGET", "Meter", "accrued_usd", "usd_for"]

OVER_BUDGET = "over_budget"
"""Native word of a run that its own worker stopped because it had reached its budget."""


def accrued_usd(
    accrual: Accrual | None, *, seconds: float, share_done: float, price_usd: Decimal | None
) -> Decimal | None:
    """Return what a run has cost so far.

    Args:
        accrual: How its cost grows; None: not known.
        seconds: Seconds that are billed, over all its attempts.
        share_done: Share of the training that is done, 0 to 1.
        price_usd: US dollars that the provider itself reports, which take precedence; None: it reports none.

    Returns:
        US dollars, or None if it isn't known.
    """
    if price_usd is not None:
        return price_usd
    if accrual is None:
        return None
    if accrual.kind == "per_hour":
        return accrual.fixed_usd + usd_for(accrual, seconds)
    return max(accrual.fixed_usd, accrual.usd * Decimal(str(min(1.0, max(0.0, share_done)))))


def usd_for(accrual: Accrual | None, seconds: float) -> Decimal:
    """Return the price of some seconds in US dollars; 0 where time isn't billed."""
    if accrual is None or accrual.kind != "per_hour":
        return Decimal(0)
    return accrual.usd * Decimal(str(max(0.0, seconds))) / 3600


@dataclass(kw_only=True)
class Meter:
    """Count from a run's events the seconds that are billed, over all its attempts, and the share that is done.

    An attempt is billed from its first event to its last. Where the provider bills the start too, it counts from the
    submission, or from the last event of the attempt before, and never for longer than a start may take. A pause in
    which nothing was at work costs nothing: a run that is resumed on Monday owes nothing for the weekend.

    Args:
        accrual: How its cost grows.
        submitted_at: When the run was submitted, in seconds since the epoch; None: not known, so the first start counts
            at its longest.
    """

    accrual: Accrual | None
    submitted_at: float | None = None
    seconds: float = 0.0
    """Seconds that are billed, up to the last event."""
    share_done: float = 0.0
    """Share of the training that is done, by its steps; 1 once it has succeeded."""
    longest_pause_s: float = 0.0
    """Longest time between two events of one attempt, in seconds: the cost can't be seen more often."""
    last_at: float | None = None
    """Time of the last event, in seconds since the epoch."""
    is_going: bool = False
    """Whether an attempt is at work: between its first event and its end."""

    def saw(self, events: Sequence[Event]) -> None:
        """Count events, in order, each once."""
        for event in events:
            self._time(event)
            if isinstance(event, StepEvent) and event.total_steps:
                self.share_done = max(self.share_done, event.step / event.total_steps)
            elif isinstance(event, StateEvent) and event.state == "succeeded":
                self.share_done = 1.0

    def owed_usd(self, *, seconds: float | None = None, price_usd: Decimal | None = None) -> Decimal | None:
        """Return what the run has cost.

        Args:
            seconds: Seconds that are billed, if more are known of than the events show; None: the events'.
            price_usd: US dollars that the provider itself reports; None: it reports none.

        Returns:
            US dollars, or None if it isn't known.
        """
        billed_s = self.seconds if seconds is None else max(seconds, self.seconds)
        return accrued_usd(self.accrual, seconds=billed_s, share_done=self.share_done, price_usd=price_usd)

    def _time(self, event: Event) -> None:
        before = self.submitted_at if self.last_at is None else self.last_at
        # Clocks of two machines may disagree: no pause is negative.
        pause_s = None if before is None else max(0.0, event.at - before)
        is_state = isinstance(event, StateEvent)
        is_first_event = (
            is_state and event.state == "running" and (not self.is_going or event.native.startswith("attempt"))
        )
        if is_first_event:
            longest_start_s = 0.0 if self.accrual is None else self.accrual.start_s
            self.seconds += longest_start_s if pause_s is None else min(longest_start_s, pause_s)
            self.is_going = True
        elif self.is_going and pause_s is not None:
            self.seconds += pause_s
            self.longest_pause_s = max(self.longest_pause_s, pause_s)
        if is_state and (event.state == "queued" or event.state in TERMINAL):
            self.is_going = False
        self.last_at = event.at if self.last_at is None else max(self.last_at, event.at)
