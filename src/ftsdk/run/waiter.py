"""Waiting for a run: polling, the timeout, a backend that doesn't answer, and the budget."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ftsdk.errors import BackendError
from ftsdk.protocol import Event, RunStatus
from ftsdk.run.budget import BudgetWatch
from ftsdk.run.progress import Progress
from ftsdk.run.stats import RunStats

__all__ = ["Waiter"]

_log = logging.getLogger(__name__)
_PATIENCE_S = 300.0
"""How long to go on asking a backend that doesn't answer, in seconds."""
_RETRY_S = 1.0
"""Pause after an error that names none, in seconds."""


@dataclass(kw_only=True)
class Waiter:
    """Polls one run until it ends or reaches its budget.

    Args:
        ref: The run's ref, for messages.
        status: Asks the backend for the run's status.
        events: Returns the events after a `seq`.
        resume: Resumes a run that no worker is working on; False if there is nothing to do.
        stop: Cancels the run because of its budget, given its last status; returns the status afterwards.
        display: Shows events and states.
        stats: Counts events.
        watch: Follows the cost; None if the run has no budget.
        timeout_s: Seconds until `TimeoutError`; None waits for as long as it takes.
        poll_s: Seconds between two polls.
        clock: Seconds; only differences count.
        sleep: Waits for some seconds.
    """

    ref: str
    status: Callable[[], RunStatus]
    events: Callable[[int], Sequence[Event]]
    resume: Callable[[], bool]
    stop: Callable[[RunStatus], RunStatus]
    display: Progress
    stats: RunStats
    watch: BudgetWatch | None
    timeout_s: float | None
    poll_s: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    _seen: int = -1
    """The `seq` of the last event."""
    _last: RunStatus | None = None
    _failing_since: float | None = None
    """The clock at the first of the errors in a row."""
    _deadline: float | None = field(init=False, default=None)

    def wait(self) -> RunStatus:
        """Return the status of the run once it has ended or was stopped because of its budget.

        Raises:
            BackendError: The backend refused to answer, or didn't answer for five minutes; or the run is blocked and
                can't be resumed.
            TimeoutError: `timeout_s` is over.
        """
        self._deadline = None if self.timeout_s is None else self.clock() + self.timeout_s
        is_first = True
        while True:
            try:
                # A backend that doesn't answer bills all the same.
                if self._failing_since is not None and self._is_over_budget():
                    return self._stop()
                status = self._poll()
                if status.is_terminal:
                    return status
                if self._is_over_budget():
                    return self._stop()
            except BackendError as error:
                self._pause_after(error)
                continue
            self._failing_since = None
            if status.native in ("interrupted", "intended"):
                _log.info("run %s is %s: resuming it", self.ref, status.native)
                self.resume()
            elif status.native == "blocked" and (not is_first or not self.resume()):
                raise BackendError(f"run {self.ref} is blocked: {status.reason}", retryable=True)
            is_first = False
            left = self._time_left()
            if left is not None and left <= 0:
                raise TimeoutError(
                    f"run {self.ref} is still {status.state} after {self.timeout_s:g} s. {self._goes_on}"
                )
            self.sleep(self.poll_s if left is None else min(self.poll_s, left))

    @property
    def _goes_on(self) -> str:
        return f"It continues in the background; wait again with Run.open({self.ref!r}).wait()"

    def _poll(self) -> RunStatus:
        status = self.status()
        news = self.events(self._seen)
        for event in news:
            self._seen = event.seq
            self.display.event(event)
        self.stats.saw(news)
        if self.watch is not None:
            self.watch.saw(news)
        self.display.status(status)
        self._last = status
        return status

    def _time_left(self) -> float | None:
        return None if self._deadline is None else self._deadline - self.clock()

    def _is_over_budget(self) -> bool:
        return (
            self.watch is not None
            and self._last is not None
            and self.watch.is_over(self._last, clock_s=self.clock()) is not None
        )

    def _stop(self) -> RunStatus:
        assert self._last is not None
        return self.stop(self._last)

    def _pause_after(self, error: BackendError) -> None:
        """Pause before the next attempt, for as long as the backend asks for but not beyond the timeout.

        Watch the budget meanwhile.
        """
        now = self.clock()
        self._failing_since = now if self._failing_since is None else self._failing_since
        patience_s = _PATIENCE_S - (now - self._failing_since)
        if not error.retryable or patience_s <= 0:
            raise error
        left = min(max(self.poll_s, error.retry_after_s or _RETRY_S), patience_s)
        if self._deadline is not None:
            if now >= self._deadline:
                raise TimeoutError(
                    f"run {self.ref} can't be reached, and {self.timeout_s:g} s are over: {error}. {self._goes_on}"
                ) from error
            left = min(left, self._deadline - now)
        _log.warning("run %s: no answer, asking again in %.0f s: %s", self.ref, left, error)
        # In slices where there is a budget: a Retry-After of minutes must not hide what the run costs.
        slice_s = left if self.watch is None or self._last is None else max(self.poll_s, _RETRY_S)
        while left > 0:
            self.sleep(min(slice_s, left))
            left -= slice_s
            if left > 0 and self._is_over_budget():
                return
