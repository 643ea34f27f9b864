"""A job that was submitted: what identifies it, how it is followed and stopped, and its weights."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ftsdk._format import html_table
from ftsdk.backends.registry import get_backend
from ftsdk.errors import Diagnosis, RunFailedError
from ftsdk.protocol import TERMINAL, Artifact, Backend, CanResume, Event, Plan, RunRef, RunStatus
from ftsdk.protocol.estimates import Quote
from ftsdk.run.artifacts import collect
from ftsdk.run.async_wait import wait_in_thread
from ftsdk.run.budget import BudgetWatch, budget_watch, why_over_budget
from ftsdk.run.evaluation import results_folder
from ftsdk.run.home_access import usable_home
from ftsdk.run.ledger import Ledger, Record, Sighting
from ftsdk.run.outcome import CostReport, Outcome, compare
from ftsdk.run.record import base_model_of
from ftsdk.run.stats import RunStats, record_end
from ftsdk.run.submission import confirm, ref_of, status_of, submit
from ftsdk.run.waiter import Waiter
from ftsdk.spec import Model
from ftsdk.spec.amounts import check_amount

if TYPE_CHECKING:
    from ftsdk.run.progress import Progress

__all__ = ["SubmittedRun"]


class SubmittedRun:
    """A run as its backend knows it: what was submitted, its state and events, and its weights.

    What was submitted is in the ledger, and the state is at the backend, so any process can open any run.
    """

    def __init__(self, record: Record, backend: Backend, *, ledger: Ledger) -> None:
        self._record = record
        self._backend = backend
        self._ledger = ledger

    @classmethod
    def open(cls, ref: str, *, backend: Backend | None = None) -> Self:
        """Open a run by its ref, such as `local:20261123-ab12cd`.

        Args:
            ref: From `run.ref` or `ftsdk runs`.
            backend: The backend object, for one that isn't registered by name.

        Raises:
            RunNotFoundError: It isn't in the ledger.
            MissingExtraError: Its backend isn't installed.
        """
        parsed = RunRef.parse(ref)
        ledger = Ledger()
        record = ledger.get(str(parsed))
        return cls(record, backend or get_backend(parsed.backend, record.options), ledger=ledger)

    @property
    def ref(self) -> str:
        """The run's name in any process: `Run.open(ref)`."""
        return self._record.ref

    @property
    def name(self) -> str | None:
        """The job's name, if it has one."""
        return self._record.name

    @property
    def plan(self) -> Plan:
        """The submitted plan, priced by the provider's quote at submission, or else by our estimate."""
        plan = Plan.from_dict(self._record.plan)
        quote = Quote.from_native(self._record.native)
        return plan if quote is None else plan.quoted(quote)

    @property
    def backend(self) -> Backend:
        """The backend that the run is at."""
        return self._backend

    @property
    def created_at(self) -> datetime:
        """When the run was submitted, in local time."""
        return datetime.fromtimestamp(self._record.created_at).astimezone()

    @property
    def last_seen_state(self) -> str:
        """The state that this object saw last, or else the ledger; the backend isn't asked. It may be out of date."""
        return self._record.state

    @property
    def sweep(self) -> Mapping[str, Any] | None:
        """The sweep that the run belongs to (`id`, `trial`), and what it differs in from the job (`changes`)."""
        return self._record.sweep

    def __repr__(self) -> str:
        return f"Run({self.ref!r})"

    def _repr_html_(self) -> str:
        named = [("name", self.name)] if self.name else []
        facts = [("run", self.ref), *named, ("last seen", self.last_seen_state)]
        return html_table([*facts, ("started", f"{self.created_at:%Y-%m-%d %H:%M}"), ("model", str(self.base_model()))])

    def status(self) -> RunStatus:
        """Return the run's status, and record it in the ledger.

        Raises:
            RunNotFoundError: The backend doesn't know the run.
            BackendError: The backend can't be reached.
        """
        status = status_of(self._record, self._backend)
        if self._record.submitted_at is not None:
            self._ledger.saw(Sighting(ref=self.ref, state=status.state, price_usd=status.price_usd))
            self._record = replace(self._record, state=status.state)
        return status

    def events(self, *, after: int = -1) -> list[Event]:
        """Return the events up to now whose `seq` is over `after`, in order. Never blocks.

        Raises:
            RunNotFoundError: The backend doesn't know the run.
            BackendError: The backend can't be reached.
        """
        with usable_home():
            return list(self._backend.events(ref_of(self._record), after=after))

    def resume(self) -> bool:
        """Resume a run that was never submitted, was killed, or ran out of disk.

        Returns:
            False if there is nothing to resume.

        Raises:
            BackendError: The backend can't be reached.
        """
        if self._record.submitted_at is None:
            if self._record.state in TERMINAL:
                return False
            self._record = submit(self._record, self.plan, self._backend, self._ledger)
            return True
        backend = self._backend
        with usable_home():
            return isinstance(backend, CanResume) and backend.resume(ref_of(self._record))

    def wait(
        self,
        *,
        timeout_s: float | None = None,
        progress: bool | Progress = True,
        poll_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Self:
        """Wait until the run ends, and show its progress. An interrupted run is resumed from its last checkpoint.

        Failed requests are retried for five minutes, no faster than the backend allows.

        Args:
            timeout_s: Stop waiting after so many seconds; the run continues.
            progress: False for silence, or an object that displays events in its own way.
            poll_s: Seconds between two polls.
            clock: Seconds; only differences count.
            sleep: Waits for some seconds.

        Raises:
            SpecError: A number of seconds is negative or not finite.
            RunFailedError: The training failed; `.diagnosis` has the cause and what to try.
            BudgetExceededError: The run reached `budget_usd` and was cancelled, now or earlier, from here or by its own
                worker. Has what it had cost, and how much may have been spent beyond: the cost of one `poll_s` or one
                step, and of the time to cancel.
            BackendError: The backend doesn't answer, or the run is blocked, for example by a full disk.
            TimeoutError: `timeout_s` is over.
        """
        from ftsdk.run.progress import make_progress

        check_amount("poll_s", poll_s, at_least=0)
        if timeout_s is not None:
            check_amount("timeout_s", timeout_s, at_least=0)
        plan, submitted_at = self.plan, self._record.submitted_at
        stats, watch = RunStats.of(plan, submitted_at=submitted_at), budget_watch(plan, submitted_at=submitted_at)
        with make_progress(progress, self.ref) as display:
            status = Waiter(
                ref=self.ref,
                status=self.status,
                events=lambda after: [] if self._record.submitted_at is None else self.events(after=after),
                resume=self.resume,
                stop=lambda last: self._stop_over_budget(watch, last, poll_s=poll_s, clock=clock, sleep=sleep),
                display=display,
                stats=stats,
                watch=watch,
                timeout_s=timeout_s,
                poll_s=poll_s,
                clock=clock,
                sleep=sleep,
            ).wait()
        if status.is_terminal:
            self._record = record_end(self._record, plan, stats, status, self._ledger)
        reason = why_over_budget(self._record, status)
        if watch is not None and reason:
            raise watch.error(self.ref, status, reason, clock_s=clock(), interval_s=poll_s)
        if status.state == "failed":
            diagnosis = status.diagnosis or Diagnosis("unknown", status.reason or "the backend gave no reason")
            raise RunFailedError(self.ref, diagnosis, log_tail=status.log_tail)
        return self

    async def wait_async(
        self, *, timeout_s: float | None = None, progress: bool | Progress = False, poll_s: float = 0.5
    ) -> Self:
        """Wait as `wait()` does, without blocking the event loop.

        Cancelling the task stops the waiting, at its next poll; the run continues.

        Args:
            timeout_s: Stop waiting after so many seconds; the run continues.
            progress: True shows a bar, of one run at a time.
            poll_s: Seconds between two polls.

        Raises:
            FtsdkError: The errors of `wait()`.
            TimeoutError: `timeout_s` is over.
        """
        return await wait_in_thread(
            lambda sleep: self.wait(timeout_s=timeout_s, progress=progress, poll_s=poll_s, sleep=sleep)
        )

    async def status_async(self) -> RunStatus:
        """Return the run's status as `status()` does, without blocking the event loop."""
        return await asyncio.to_thread(self.status)

    def costs(self) -> CostReport:
        """Compare the estimate with what the run took. Empty until `wait()` has seen the run succeed."""
        if self._record.outcome is None:
            return CostReport(())
        return CostReport(compare(self.ref, self.plan.estimate, Outcome.from_dict(self._record.outcome)))

    def _stop_over_budget(
        self,
        watch: BudgetWatch | None,
        status: RunStatus,
        *,
        poll_s: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> RunStatus:
        """Cancel a run that has reached its budget, and return its last status: it may have ended otherwise first."""
        assert watch is not None
        owed = watch.owed_usd(status, clock_s=clock())
        # In the ledger first: a later process must find the reason even if this one dies now.
        self._record = self._ledger.over_budget(self.ref, watch.why_cancelled(owed, interval_s=poll_s))
        return self.cancel(clock=clock, sleep=sleep)

    def cancel(
        self,
        *,
        wait_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> RunStatus:
        """Stop the run. A worker that doesn't respond is killed; cancelling twice does nothing.

        Args:
            wait_s: Seconds to wait for the end.
            clock: Seconds; only differences count.
            sleep: Waits for some seconds.
        """
        check_amount("wait_s", wait_s, at_least=0)
        if self._record.submitted_at is None:
            self._record = confirm(self._record, self.plan, self._backend, self._ledger)
            if self._record.submitted_at is None:
                return self.status()
        deadline = clock() + wait_s
        while True:
            with usable_home():
                self._backend.cancel(ref_of(self._record))
            status = self.status()
            if status.is_terminal or clock() >= deadline:
                return status
            sleep(0.2)

    def collect(self, into: str | Path | None = None) -> Artifact:
        """Download the weights into a folder and check them against their manifest.

        Args:
            into: An empty or new folder; None means a folder in ftsdk's home, which is filled once.

        Raises:
            RunNotReadyError: The run hasn't succeeded, or the folder holds other files.
            CorruptArtifactError: The weights don't match their manifest.
        """
        return collect(self._backend, ref_of(self._record), into, kept=self._folder() / "artifact")

    def base_model(self) -> Model:
        """Return the model that was tuned.

        Raises:
            SpecError: The record in the ledger doesn't name one.
        """
        return base_model_of(self._record)

    def _folder(self) -> Path:
        return results_folder(self.ref)
