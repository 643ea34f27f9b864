"""A budget for calls that ask endpoints: money is set aside before each request, and settled by its answer."""

from __future__ import annotations

import threading
from decimal import Decimal

__all__ = ["SpendMeter"]


class SpendMeter:
    """What was spent, and what requests in flight may cost. Threads share it.

    A request is sent only if the budget covers its most expensive answer, beside those in flight. So the budget holds,
    except for answers that never arrived and that the provider bills all the same.
    """

    def __init__(self, budget_usd: Decimal | None = None) -> None:
        """Start at nothing spent; None sets no limit."""
        self.budget_usd = budget_usd
        self._spent = Decimal(0)
        self._set_aside = Decimal(0)
        self._reached = False
        self._changed = threading.Condition()

    @property
    def spent_usd(self) -> Decimal:
        """US dollars for all answers so far."""
        return self._spent

    @property
    def is_reached(self) -> bool:
        """Whether a request wasn't sent because the budget might not have covered it."""
        return self._reached

    def add(self, usd: Decimal) -> None:
        """Count an answer that is known already: it was paid for by an earlier call."""
        with self._changed:
            self._spent += usd

    def set_aside(self, usd: Decimal) -> bool:
        """Set money aside for a request, and return whether the budget covers it.

        Waits while requests in flight may turn out cheaper than feared.
        """
        with self._changed:
            while self.budget_usd is not None and self._spent + self._set_aside + usd > self.budget_usd:
                if not self._set_aside:
                    self._reached = True
                    return False
                self._changed.wait()
            self._set_aside += usd
            return True

    def settle(self, set_aside_usd: Decimal, usd: Decimal) -> None:
        """Replace what was set aside for a request by what it cost."""
        with self._changed:
            self._set_aside -= set_aside_usd
            self._spent += usd
            self._changed.notify_all()
