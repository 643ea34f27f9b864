"""Why a worker stops before the training is done: somebody asked, or the run has cost as much as it may."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk._format import money
from ftsdk.protocol import Event
from ftsdk.protocol.estimates import Accrual
from ftsdk.protocol.meter import OVER_BUDGET, Meter, usd_for

__all__ = ["AS_ASKED", "CANCEL", "Stop", "has_price"]

CANCEL = "cancel"
"""File in the run's folder: somebody wants the run to stop."""
AS_ASKED: Mapping[str, Any] = {"state": "cancelled", "reason": "as asked"}


def has_price(request: Mapping[str, Any]) -> bool:
    """True if an hour at the place has a price that nobody but the worker watches.

    `usd_per_hour` in the launch request says so.
    """
    return request["launch"].get("usd_per_hour") is not None


class Stop:
    """Asked after each step whether to stop.

    A watcher outside computes the same from the same events, but may not be there.

    Args:
        folder: The run's.
        request: What was asked for.
        events: Of the run so far, those of earlier attempts too: a restart doesn't forget what they cost.
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
        self._budget_usd = Decimal(str(budget)) if budget is not None and has_price(request) else None
        usd = Decimal(request["launch"]["usd_per_hour"]) if self._budget_usd is not None else Decimal(0)
        self._meter = Meter(
            accrual=Accrual(kind="per_hour", usd=usd, fixed_usd=Decimal(0), source="the launch request")
        )
        self._meter.saw(events)

    def __call__(self) -> bool:
        """Say whether to stop now."""
        return (self._folder / CANCEL).exists() or self.is_over_budget()

    def is_over_budget(self) -> bool:
        """True once all attempts together have cost as much as the run may."""
        return self._budget_usd is not None and self._owed_usd() >= self._budget_usd

    def ending(self) -> Mapping[str, Any]:
        """Give the fields of the run's last event: what was owed counts before what was asked, because it says more."""
        accrual = self._meter.accrual
        if self._budget_usd is None or accrual is None or not self.is_over_budget():
            return AS_ASKED
        unseen_s = max(self._meter.longest_pause_s, self._since_s())
        reason = (
            f"{money(self._owed_usd(), places=4)} is owed for {self._seconds():,.1f} s over all attempts at "
            f"${accrual.usd} an hour, as much as "
            f"budget_usd={self._budget_usd.normalize():f}; the worker looks after each step, and the longest that it "
            "was between two words was "
            f"{unseen_s:,.1f} s, so up to {money(usd_for(accrual, unseen_s), places=4)} may have been spent beyond. "
            "The newest whole "
            "checkpoint, if there is one, is kept"
        )
        return {"state": "cancelled", "native": OVER_BUDGET, "reason": reason}

    def _seconds(self) -> float:
        return self._meter.seconds + self._since_s()

    def _since_s(self) -> float:
        last_at = self._meter.last_at
        return max(0.0, self._clock() - last_at) if self._meter.is_going and last_at is not None else 0.0

    def _owed_usd(self) -> Decimal:
        owed = self._meter.owed_usd(seconds=self._seconds())
        assert owed is not None
        return owed
