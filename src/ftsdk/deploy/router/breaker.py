"""A breaker: a target that keeps failing isn't asked for a while, and then with one request at a time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ftsdk.spec import Value

__all__ = ["Breaker", "BreakerRule", "Ticket"]


class BreakerRule(Value):
    """When a target isn't asked any more, and for how long."""

    failures: Annotated[int, Field(ge=1, le=1000)] = 5
    """So many failures in a row open the breaker."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """So does this share of failures among the last 20 requests."""
    cooldown_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """How long it stays open, in seconds, before one request tries again; twice as long after each that fails."""
    longest_cooldown_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """The longest that it stays open, in seconds, also where a `Retry-After` asks for more."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to ask a target, to be handed back with what came of it."""

    era: int
    is_probe: bool


class Breaker:
    """The breaker of one target. Times are seconds of any clock that only goes forward."""

    _WINDOW = 20

    def __init__(self, rule: BreakerRule) -> None:
        """Start closed."""
        self._rule = rule
        self._era = 0
        self._recent: deque[bool] = deque(maxlen=self._WINDOW)
        self._in_a_row = 0
        self._open_until: float | None = None
        self._cooldown_s = rule.cooldown_s
        self._is_probing = False
        self.opened = 0
        """How often it has opened."""

    def state(self, now: float) -> Literal["closed", "open", "half-open"]:
        """Return whether requests pass, none does, or one may."""
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half-open"

    def seconds_left(self, now: float) -> float:
        """Return how long it stays open."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def admit(self, now: float) -> Ticket | None:
        """Return leave to ask the target; None: it is resting, or another request is trying it."""
        if self._open_until is None:
            return Ticket(self._era, False)
        if now < self._open_until or self._is_probing:
            return None
        self._is_probing = True
        return Ticket(self._era, True)

    def succeeded(self, ticket: Ticket) -> None:
        """Count a success; that of a probe closes the breaker."""
        if ticket.is_probe:
            self._close()
        elif ticket.era == self._era:  # a late answer from before it opened says nothing about now
            self._in_a_row = 0
            self._recent.append(True)

    def failed(self, ticket: Ticket, now: float, *, retry_after_s: float | None = None) -> None:
        """Count a failure; one that says when to come back opens the breaker until then."""
        if ticket.is_probe:
            self._is_probing = False
            self._cooldown_s = min(self._cooldown_s * 2, self._rule.longest_cooldown_s)
            self._open(now, retry_after_s)
            return
        if ticket.era != self._era:
            return
        self._in_a_row += 1
        self._recent.append(False)
        is_full = len(self._recent) == self._WINDOW
        share = self._recent.count(False) / self._WINDOW if is_full else 0.0
        if retry_after_s or self._in_a_row >= self._rule.failures or share >= self._rule.share:
            self._open(now, retry_after_s)

    def released(self, ticket: Ticket) -> None:
        """Hand back leave that came to nothing: the client went away, or the request itself was at fault."""
        if ticket.is_probe:
            self._is_probing = False

    def _open(self, now: float, retry_after_s: float | None) -> None:
        rest_s = self._cooldown_s if retry_after_s is None else max(retry_after_s, self._cooldown_s)
        self._open_until = now + min(rest_s, self._rule.longest_cooldown_s)
        self._era += 1
        self.opened += 1
        self._recent.clear()
        self._in_a_row = 0

    def _close(self) -> None:
        self._open_until = None
        self._is_probing = False
        self._cooldown_s = self._rule.cooldown_s
        self._era += 1
        self._recent.clear()
        self._in_a_row = 0
