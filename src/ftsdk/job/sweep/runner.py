"""Running the trials of a sweep: money set aside, the run submitted, followed and settled; one or several at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from ftsdk._format import money
from ftsdk.errors import (
    BackendError,
    BudgetExceededError,
    DatasetError,
    ModelError,
    RunFailedError,
    RunNotFoundError,
    SpecError,
)
from ftsdk.job.job import FineTuneJob
from ftsdk.job.submitting import submit_job
from ftsdk.job.sweep.plan import need_of
from ftsdk.job.sweep.record import SETTLED, SweepFolder, SweepRecord, TrialProgress
from ftsdk.job.sweep.rules import read_rule
from ftsdk.job.sweep.settings import Trial, changed
from ftsdk.job.sweep.trial_follower import TrialFollower, others_of
from ftsdk.protocol import CanQuote
from ftsdk.run.ledger import Ledger
from ftsdk.run.outcome import Outcome
from ftsdk.run.progress import Progress, SilentProgress, make_progress
from ftsdk.run.run import Run

__all__ = ["SweepRunner", "is_over", "left_usd"]

_log = logging.getLogger(__name__)
_CANCELLED = "the sweep was cancelled"


class _Stopped(BaseException):
    """Leaves a thread; derived from `BaseException` so that no retry catches it."""


def left_usd(budget_usd: Decimal, progress: dict[int, TrialProgress]) -> Decimal:
    """Return what is neither spent nor set aside, in US dollars."""
    return budget_usd - sum((one.reserved_usd + one.cost_usd for one in progress.values()), Decimal(0))


@dataclass(kw_only=True)
class SweepRunner:
    """Runs the trials of a sweep; whoever has one holds the sweep's lock.

    Args:
        folder: The sweep's folder.
        record: What was asked for.
        job: The job as it is.
        has_progress: Show progress.
        on_message: Called with one sentence as trials start and end.
        timeout_s: Seconds until `TimeoutError`; None waits for as long as it takes.
        poll_s: Seconds between two polls of a run.
        clock: Seconds; only differences count.
        sleep: Waits for some seconds.
    """

    folder: SweepFolder
    record: SweepRecord
    job: FineTuneJob
    on_message: Callable[[str], None]
    has_progress: bool = False
    timeout_s: float | None = None
    poll_s: float = 0.5
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _progress: dict[int, TrialProgress] = field(init=False)
    _claimed: set[int] = field(default_factory=set[int])
    """Trials that this process follows."""
    _needs: dict[int, Decimal] = field(default_factory=dict[int, Decimal])
    _changed: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))
    _stop: threading.Event = field(default_factory=threading.Event)
    _deadline: float | None = field(init=False)

    def __post_init__(self) -> None:
        self._progress = self.folder.progress()
        self._deadline = None if self.timeout_s is None else self.clock() + self.timeout_s
        self._rule = read_rule(self.record.rule)

    def start(self) -> None:
        """Submit as many trials as may go on at once, and return.

        Raises:
            FtsdkError: A backend refused the key, or can't be reached.
        """
        for _ in range(self.record.parallel):
            trial = self._next(is_patient=False)
            if trial is None:
                return
            self._submit(trial)
        self._claimed.clear()

    def run(self) -> None:
        """Run all trials to their end.

        Raises:
            BackendError: A backend doesn't answer; its runs go on, and the next call follows them.
            TimeoutError: `timeout_s` is over.
        """
        if self.record.parallel == 1:
            self._work(self.sleep)
            return
        with ThreadPoolExecutor(self.record.parallel, thread_name_prefix="ftsdk-sweep") as pool:
            workers = [pool.submit(self._work, self._sleep_unless_stopped) for _ in range(self.record.parallel)]
            try:
                done, _ = wait(workers, return_when=FIRST_EXCEPTION)
                failed = next((worker for worker in done if worker.exception() is not None), None)
            finally:
                self._stop.set()
                with self._changed:
                    self._changed.notify_all()
        if failed is not None:
            failed.result()

    def _work(self, sleep: Callable[[float], None]) -> None:
        while (trial := self._next()) is not None:
            run = self._submit(trial)
            if run is not None:
                self._follow(trial, run, sleep)

    def _sleep_unless_stopped(self, seconds: float) -> None:
        if self.sleep is not time.sleep:
            self.sleep(seconds)
            seconds = 0.0
        if self._stop.wait(seconds):
            raise _Stopped

    def _next(self, *, is_patient: bool = True) -> Trial | None:
        """Return the next trial, with money set aside for it; None if there is none, or none that can be paid for.

        Those that an earlier process has started come first. Waits while running ones may cost less than was set aside.
        """
        with self._changed:
            while not self._stop.is_set():
                is_cancelled = self.folder.is_cancelled
                waiting: list[Trial] = []
                for trial in self.record.trials:
                    match self._progress[trial.number].state:
                        case "running" if trial.number not in self._claimed:
                            if is_cancelled and not self._is_in_ledger(trial):
                                self._set(trial, state="not run", reserved_usd=Decimal(0), reason=_CANCELLED)
                                continue
                            self._claimed.add(trial.number)
                            return trial
                        case "waiting":
                            waiting.append(trial)
                        case _:
                            pass
                if is_cancelled:
                    for trial in waiting:
                        self._set(trial, state="not run", reason=_CANCELLED)
                    return None
                for trial in waiting:
                    if self._reserve(trial):
                        self._claimed.add(trial.number)
                        return trial
                waiting = [trial for trial in waiting if self._progress[trial.number].state == "waiting"]
                if not waiting or not is_patient:
                    return None
                if not any(one.state == "running" for one in self._progress.values()):
                    self._leave_out(waiting)
                    return None
                self._changed.wait()
            return None

    def _reserve(self, trial: Trial) -> bool:
        """Set money aside for a trial; False if it isn't there, or the trial can't be planned."""
        need = self._needs.get(trial.number)
        if need is None:
            try:
                plan = changed(self.job, trial.changes, budget_usd=None).plan()
            except (SpecError, DatasetError, ModelError) as error:
                self._set(trial, state="refused", reason=str(error))
                return False
            need = need_of(plan)
            if need is None or (need and self.record.budget_usd is None):
                self._set(trial, state="refused", reason=f"its cost isn't known: {plan.cost_note}")
                return False
            self._needs[trial.number] = need
        reserved = Decimal(0)
        if self.record.budget_usd is not None and need:
            left = left_usd(self.record.budget_usd, self._progress)
            if need > left:
                return False
            reserved = min(need * self.record.headroom, left)
        # On disk before anything is submitted: whoever goes on after a kill counts it, and looks for the run.
        ref = f"{self.job.resolved_backend.name}:{self.record.key_of(trial)}"
        self._set(trial, state="running", reserved_usd=reserved, ref=ref)
        return True

    def _leave_out(self, waiting: list[Trial]) -> None:
        assert self.record.budget_usd is not None
        left = left_usd(self.record.budget_usd, self._progress)
        for trial in waiting:
            need = self._needs[trial.number]
            reason = f"{money(max(left, Decimal(0)))} is left, and it may cost {money(need)}"
            self._set(trial, state="not run", reason=reason)
            self.on_message(f"{trial.label}: not run; {reason}")

    def _is_in_ledger(self, trial: Trial) -> bool:
        try:
            Ledger().get(self._progress[trial.number].ref)
        except RunNotFoundError:
            return False
        return True

    def _submit(self, trial: Trial) -> Run | None:
        """Return the run of a trial, found in the ledger or submitted; None if it was refused, and nothing started."""
        progress = self._progress[trial.number]
        backend = self.job.resolved_backend
        try:
            if not self._is_in_ledger(trial):
                limits = [usd for usd in (progress.reserved_usd, self.job.budget_usd) if usd]
                job = changed(self.job, trial.changes, budget_usd=min(limits) if limits else None)
                member = {"id": self.record.id, "trial": trial.number, "changes": trial.changes}
                submit_job(job, key=self.record.key_of(trial), sweep=member)
                self.on_message(f"{trial.label}: started as {progress.ref}")
        except (BudgetExceededError, SpecError, DatasetError, ModelError) as error:
            with self._changed:
                self._set(trial, state="refused", reserved_usd=Decimal(0), reason=str(error))
                self._changed.notify_all()
            self.on_message(f"{trial.label}: refused; {error}")
            return None
        except BackendError as error:
            # In the ledger, so that waiting for it submits it again, under the same key, as patiently as any run.
            if not error.retryable or not self._is_in_ledger(trial):
                raise
            _log.warning("trial %s of sweep %s: %s", trial.number, self.record.id, error)
        run = Run.open(progress.ref, backend=backend)
        if isinstance(backend, CanQuote) and (cost := run.plan.cost) is not None and progress.reserved_usd:
            with self._changed:
                # The provider's own price takes the place of the estimate.
                self._set(trial, reserved_usd=min(progress.reserved_usd, cost.high))
        return run

    def _follow(self, trial: Trial, run: Run, sleep: Callable[[float], None]) -> None:
        def stop(reason: str) -> None:
            with self._changed:
                self._set(trial, reason=reason)
            run.cancel(clock=self.clock, sleep=self.sleep)

        progress = self._progress[trial.number]
        is_shown = self.has_progress and self.record.parallel == 1
        with make_progress(True, run.ref) if is_shown else nullcontext(SilentProgress()) as display:
            follower = self._follower(trial, progress, display, stop)
            left = None if self._deadline is None else max(0.0, self._deadline - self.clock())
            reason, is_over_budget = "", False
            try:
                run.wait(progress=follower, timeout_s=left, poll_s=self.poll_s, clock=self.clock, sleep=sleep)
            except RunFailedError as error:
                reason = error.diagnosis.message
            except BudgetExceededError as error:
                reason, is_over_budget = str(error), True
        self._settle(trial, run, follower, reason=reason, is_over_budget=is_over_budget)

    def _follower(
        self, trial: Trial, progress: TrialProgress, display: Progress, stop: Callable[[str], None]
    ) -> TrialFollower:
        def others() -> Any:
            with self._changed:
                rest = [one for number, one in self._progress.items() if number != trial.number]
            return others_of(rest, self.record.choose_by)

        def on_curve(curve: tuple[tuple[float, float], ...]) -> None:
            with self._changed:
                self._set(trial, curve=curve)

        return TrialFollower(
            display,
            metric=self.record.choose_by,
            keeps_best=changed(self.job, trial.changes).early_stopping is not None,
            rule=self._rule,
            known=len(progress.curve),
            why=progress.reason,
            others=others,
            on_curve=on_curve,
            stop=stop,
        )

    def _settle(self, trial: Trial, run: Run, follower: TrialFollower, *, reason: str, is_over_budget: bool) -> None:
        """Record how a trial ended, and replace what was set aside for it by what it cost."""
        record = Ledger().get(run.ref)
        outcome = None if record.outcome is None else Outcome.from_dict(record.outcome)
        cost = None if record.price_usd is None else Decimal(record.price_usd)
        if cost is None and outcome is not None:
            cost = outcome.cost_usd
        with self._changed:
            progress = self._progress[trial.number]
            stopped_by_rule = progress.reason if not is_over_budget else ""
            state = "failed"
            if record.state == "succeeded":
                state, reason = "succeeded", ""
            elif record.state != "failed":
                state = "over budget" if is_over_budget else "stopped" if stopped_by_rule else "cancelled"
                reason = reason or stopped_by_rule or record.reason
            # Without a price from anybody, what was set aside stays spent, up to the estimate.
            most = progress.reserved_usd
            if (estimated := run.plan.cost) is not None and not is_over_budget:
                most = min(most, estimated.high)
            if record.submitted_at is None:
                cost = Decimal(0)
            self._set(
                trial,
                state=state,
                reason=reason,
                reserved_usd=Decimal(0),
                cost_usd=most if cost is None else cost,
                is_cost_known=cost is not None or not progress.reserved_usd,
                curve=follower.curve,
                value=follower.value,
                seconds=None if outcome is None else outcome.seconds,
            )
            self._changed.notify_all()
        value = "" if follower.value is None else f", validation {self.record.choose_by} {follower.value:.4g}"
        self.on_message(f"{trial.label}: {state}{value}" + (f"; {reason}" if reason else ""))

    def _set(self, trial: Trial, **changes: Any) -> None:
        self._progress[trial.number] = replace(self._progress[trial.number], **changes)
        self.folder.write(self._progress)


def is_over(progress: dict[int, TrialProgress]) -> bool:
    """Return whether every trial is settled."""
    return all(one.state in SETTLED for one in progress.values())
