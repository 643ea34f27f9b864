"""What a run has cost so far, and how fast it is.

Clients that watch a run and the worker that keeps its budget use the same meter, so they can't disagree.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from ftsdk.protocol import TERMINAL, Event, StateEvent, StepEvent
from ftsdk.protocol.estimates import BillingTerms

__all__ = ["OVER_BUDGET", "Meter", "Pace", "accrued_usd", "usd_for"]

OVER_BUDGET = "over_budget"
"""The `native` of a run that its own worker stopped because it had reached its budget."""
_PACE_STEPS = 20
"""The speed is the mean over so many steps."""


def accrued_usd(
    terms: BillingTerms | None, *, seconds: float, share_done: float, price_usd: Decimal | None
) -> Decimal | None:
    """Return what a run has cost so far.

    Args:
        terms: How its cost grows; None: not known.
        seconds: Seconds that are billed, over all its attempts.
        share_done: Share of the training that is complete, 0 to 1.
        price_usd: US dollars that the provider itself reports, which take precedence; None: it reports none.

    Returns:
        US dollars, or None if it isn't known.
    """
    if price_usd is not None:
        return price_usd
    if terms is None:
        return None
    if terms.kind == "per_hour":
        return terms.fixed_usd + usd_for(terms, seconds)
    return max(terms.fixed_usd, terms.usd * Decimal(str(min(1.0, max(0.0, share_done)))))


def usd_for(terms: BillingTerms | None, seconds: float) -> Decimal:
    """Return the price of some seconds in US dollars; 0 where time isn't billed."""
    if terms is None or terms.kind != "per_hour":
        return Decimal(0)
    # A clock may be wrong, but not by more than the age of the universe.
    return terms.usd * Decimal(str(min(max(0.0, seconds), 4e17))) / 3600


class Pace(NamedTuple):
    """How fast a run trains."""

    tokens_per_s: float | None
    """Tokens trained on per second; None: the trainer doesn't count them."""
    seconds_left: float | None
    """Seconds to the last step; None: the trainer doesn't state how many steps there are."""


@dataclass(kw_only=True)
class Meter:
    """Measures a run by its events: the seconds that are billed over all attempts, the share complete, and the speed.

    An attempt is billed from its first event to its last. If the provider bills the start as well, it counts from the
    submission, or from the last event of the previous attempt, up to the longest time that a start may take. Pauses in
    which no worker was running cost nothing: a run that is resumed on Monday owes nothing for the weekend.

    Args:
        terms: How its cost grows.
        submitted_at: When the run was submitted, in seconds since the epoch; None: not known, so the first start is
            billed at its longest.
    """

    terms: BillingTerms | None
    submitted_at: float | None = None
    seconds: float = 0.0
    """Seconds that are billed, up to the last event."""
    share_done: float = 0.0
    """Share of the training that is complete, by steps; 1 once the run has succeeded."""
    longest_pause_s: float = 0.0
    """Longest time between two events of one attempt, in seconds: the cost can't be checked more often."""
    last_at: float | None = None
    """Time of the last event, in seconds since the epoch."""
    is_going: bool = False
    """Whether an attempt is in progress: between its first event and its end."""
    _recent: deque[StepEvent] = field(default_factory=lambda: deque(maxlen=_PACE_STEPS))
    """The newest steps of the current attempt."""

    def saw(self, events: Sequence[Event]) -> None:
        """Count events, in order, each once."""
        for event in events:
            self._time(event)
            if isinstance(event, StepEvent):
                self._recent.append(event)
                if event.total_steps:
                    self.share_done = max(self.share_done, event.step / event.total_steps)
            elif isinstance(event, StateEvent) and event.state == "succeeded":
                self.share_done = 1.0

    def pace(self, newest: StepEvent) -> Pace | None:
        """Return how fast the current attempt trains.

        Args:
            newest: Its newest step, which needn't be counted yet.

        Returns:
            The mean over the last 20 steps; None if this is the attempt's first step.
        """
        if not self._recent or newest.step <= self._recent[0].step:
            return None
        first = self._recent[0]
        elapsed_s = max(newest.at - first.at, 1e-3)
        tokens_per_s = seconds_left = None
        if newest.tokens is not None and first.tokens is not None:
            tokens_per_s = round((newest.tokens - first.tokens) / elapsed_s, 1)
        if newest.total_steps is not None:
            seconds_left = round((newest.total_steps - newest.step) * elapsed_s / (newest.step - first.step), 1)
        return Pace(tokens_per_s, seconds_left)

    def owed_usd(self, *, seconds: float | None = None, price_usd: Decimal | None = None) -> Decimal | None:
        """Return what the run has cost.

        Args:
            seconds: Seconds that are billed, if more are known of than the events show; None: the events'.
            price_usd: US dollars that the provider itself reports; None: it reports none.

        Returns:
            US dollars, or None if it isn't known.
        """
        billed_s = self.seconds if seconds is None else max(seconds, self.seconds)
        return accrued_usd(self.terms, seconds=billed_s, share_done=self.share_done, price_usd=price_usd)

    def _time(self, event: Event) -> None:
        before = self.submitted_at if self.last_at is None else self.last_at
        # Clocks of two machines may disagree: no pause is negative.
        pause_s = None if before is None else max(0.0, event.at - before)
        is_state = isinstance(event, StateEvent)
        is_first_event = (
            is_state and event.state == "running" and (not self.is_going or event.native.startswith("attempt"))
        )
        if is_first_event:
            longest_start_s = 0.0 if self.terms is None else self.terms.start_s
            self.seconds += longest_start_s if pause_s is None else min(longest_start_s, pause_s)
            self.is_going = True
            self._recent.clear()
        elif self.is_going and pause_s is not None:
            self.seconds += pause_s
            self.longest_pause_s = max(self.longest_pause_s, pause_s)
        if is_state and (event.state == "queued" or event.state in TERMINAL):
            self.is_going = False
        self.last_at = event.at if self.last_at is None else max(self.last_at, event.at)
