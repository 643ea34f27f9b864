"""Limits on money that never wait: a request that isn't covered goes elsewhere, or ends."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

__all__ = ["SpendLimit"]


class SpendLimit:
    """The most to spend, in all or within a sliding time.

    Money is set aside for the most expensive answer before a request, and settled by the answer. `SpendMeter` waits for
    requests in flight to turn out cheaper; clients of a router can't.
    """

    def __init__(self, usd: Decimal | None, *, window_s: float | None = None) -> None:
        """Start at nothing spent.

        Args:
            usd: The limit in US dollars; None: there is none.
            window_s: How long, in seconds, what was spent counts; None: for ever.
        """
        self.usd = usd
        self._window_s = window_s
        self._spent = Decimal(0)
        self._set_aside = Decimal(0)
        self._items: deque[tuple[float, Decimal]] = deque()

    def spent(self, now: float) -> Decimal:
        """Return what counts as spent at a time."""
        if self._window_s is not None:
            while self._items and self._items[0][0] <= now - self._window_s:
                self._spent -= self._items.popleft()[1]
        return self._spent

    def covers(self, usd: Decimal, now: float) -> bool:
        """Return whether a request of at most so many dollars fits, beside those in flight."""
        return self.usd is None or self.spent(now) + self._set_aside + usd <= self.usd

    def set_aside(self, usd: Decimal) -> None:
        """Set money aside for a request."""
        self._set_aside += usd

    def settle(self, set_aside: Decimal, usd: Decimal, now: float) -> None:
        """Replace what was set aside by what the request cost."""
        self._set_aside -= set_aside
        self.add(usd, now)

    def add(self, usd: Decimal, now: float) -> None:
        """Count what was spent at a time, also by an earlier process."""
        if not usd:
            return
        self._spent += usd
        if self._window_s is not None:
            self._items.append((now, usd))
