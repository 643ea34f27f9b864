"""`Run`: a job that was submitted, from any process, on any day."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ftsdk._home import home
from ftsdk.backends.registry import get_backend
from ftsdk.cost.training.calibration import learn, software_version
from ftsdk.errors import (
    BackendError,
    BudgetExceededError,
    CorruptArtifactError,
    DatasetError,
    Diagnosis,
    RunFailedError,
    RunNotReadyError,
    SpecError,
)
from ftsdk.protocol import TERMINAL, Artifact, Backend, CanFind, CanResume, Event, Plan, RunRef, RunStatus
from ftsdk.protocol.estimates import Quote
from ftsdk.protocol.meter import OVER_BUDGET, Meter
from ftsdk.run.budget import BudgetWatch
from ftsdk.run.ledger import Ledger, Record
from ftsdk.run.outcome import CostReport, Outcome, Tally, compare
from ftsdk.spec import Model

if TYPE_CHECKING:
    from ftsdk.deploy.deployments import Deployment
    from ftsdk.evals import Endpoint, Eval, EvalReport
    from ftsdk.protocol.serving import ServingOffer
    from ftsdk.run.progress import Progress

__all__ = ["Run", "submit"]

_PATIENCE_S = 300.0
"""How long `wait` goes on asking a place that doesn't answer, in seconds."""


class Run:
    """A run. Nothing about it lives in this object: the ledger says what was asked, the backend says where it is."""

    def __init__(self, record: Record, backend: Backend, *, ledger: Ledger) -> None:
        self._record = record
        self._backend = backend
        self._ledger = ledger

    @classmethod
    def open(cls, ref: str, *, backend: Backend | None = None) -> Self:
        """Find a run by its ref, such as `local:20261123-ab12cd`.

        Args:
            ref: As `run.ref` or `ftsdk runs` shows it.
            backend: The backend object, for one that isn't registered by name.

        Raises:
            RunNotFoundError: It isn't in the ledger.
        """
        parsed = RunRef.parse(ref)
        ledger = Ledger()
        record = ledger.get(str(parsed))
        return cls(record, backend or get_backend(parsed.backend, record.options), ledger=ledger)

    @property
    def ref(self) -> str:
        """The name that opens the run again: `Run.open(ref)`."""
        return self._record.ref

    @property
    def name(self) -> str | None:
        """The job's name, if it has one."""
        return self._record.name

    @property
    def plan(self) -> Plan:
        """What was asked for, with the place's own price in place of ours if it told one at the submission."""
        plan = Plan.from_dict(self._record.plan)
        quote = Quote.from_native(self._record.native)
        return plan if quote is None else plan.quoted(quote)

    @property
    def created_at(self) -> datetime:
        """When it was submitted, in local time."""
        return datetime.fromtimestamp(self._record.created_at).astimezone()

    @property
    def last_seen_state(self) -> str:
        """The state when somebody last looked: quick, and maybe old."""
        return self._record.state

    def __repr__(self) -> str:
        return f"Run({self.ref!r})"

    def status(self) -> RunStatus:
        """Ask the backend where the run is."""
        if self._record.submitted_at is None:
            return self._status_of_intent()
        status = self._backend.status(self._ref())
        self._ledger.saw(self.ref, status.state, price_usd=status.price_usd)
        if status.state == "cancelled" and status.native != OVER_BUDGET and self._record.reason:
            return replace(status, reason=self._record.reason)
        return status

    def events(self, *, after: int = -1) -> list[Event]:
        """Give the events that exist now and come after `after`."""
        return list(self._backend.events(self._ref(), after=after))

    def resume(self) -> bool:
        """Set a run going that stands still: never submitted, killed, or out of disk. False if there is nothing to do."""
        if self._record.submitted_at is None:
            if self._record.state in TERMINAL:
                return False
            self._record = submit(self._record, self.plan, self._backend, self._ledger)
            return True
        backend = self._backend
        return isinstance(backend, CanResume) and backend.resume(self._ref())

    def wait(
        self,
        *,
        timeout_s: float | None = None,
        progress: bool | Progress = True,
        poll_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Self:
        """Wait for the end, and show how far the run is. A run that was interrupted goes on from its last checkpoint.

        Args:
            timeout_s: Give up waiting after so many seconds; the run goes on.
            progress: False for silence; or an object that shows events in its own way.
            poll_s: Seconds between two looks.
            clock: Seconds; only differences count.
            sleep: Waits for some seconds.

        Raises:
            RunFailedError: The training failed; `.diagnosis` says why and what to try.
            BudgetExceededError: The run has reached `budget_usd` and was cancelled, now or earlier, from here or by its own worker; says
                what it had cost, and how much may have been spent beyond: one `poll_s`, or one step, and the time that cancelling takes.
            BackendError: The place can't go on, such as a full disk.
            TimeoutError: `timeout_s` is over.
        """
        from ftsdk.run.progress import make_progress

        deadline = None if timeout_s is None else clock() + timeout_s
        seen = -1
        first = True
        failing_since: float | None = None
        tally, watch = Tally(meter=self._meter()), self._budget_watch()
        with make_progress(progress, self.ref) as display:
            while True:
                try:
                    status = self.status()
                    news = [] if self._record.submitted_at is None else self.events(after=seen)
                except BackendError as error:
                    # The run goes on while its place can't be reached for a moment, and so does the watching.
                    failing_since = clock() if failing_since is None else failing_since
                    is_over = clock() - failing_since >= _PATIENCE_S or (deadline is not None and clock() >= deadline)
                    if not error.retryable or is_over:
                        raise
                    sleep(max(poll_s, error.retry_after_s or 1.0))
                    continue
                failing_since = None
                for event in news:
                    seen = event.seq
                    display.event(event)
                tally.saw(news)
                if watch is not None:
                    watch.saw(news)
                display.status(status)
                if status.is_terminal:
                    break
                if watch is not None and watch.is_over(status, clock_s=clock()) is not None:
                    status = self._stop_over_budget(watch, status, poll_s=poll_s, clock=clock, sleep=sleep)
                    break
                if status.native in ("interrupted", "intended"):
                    self.resume()
                elif status.native == "blocked" and (not first or not self.resume()):
                    raise BackendError(f"run {self.ref} stands still: {status.reason}", retryable=True)
                first = False
                if deadline is not None and clock() >= deadline:
                    raise TimeoutError(
                        f"run {self.ref} is still {status.state} after {timeout_s:g} s; it goes on. Wait again: Run.open({self.ref!r}).wait()"
                    )
                sleep(poll_s)
        if status.is_terminal:
            self._keep(tally, status)
        reason = self._over_budget_reason(status)
        if watch is not None and reason:
            raise watch.error(self.ref, status, reason, clock_s=clock(), interval_s=poll_s)
        if status.state == "failed":
            raise RunFailedError(
                self.ref, status.diagnosis or Diagnosis("unknown", status.reason or "the backend gave no reason"), log_tail=status.log_tail
            )
        return self

    def _keep(self, tally: Tally, status: RunStatus) -> None:
        """Write down what the run has taken, and learn from it what its device can do."""
        if self._record.outcome is not None:
            return
        plan = self.plan
        outcome = tally.outcome(status)
        self._ledger.ended(self.ref, outcome.to_dict())
        self._record = replace(self._record, outcome=outcome.to_dict())
        probe = tally.probe(plan) if outcome.state == "succeeded" else None
        if probe is not None and plan.hardware is not None:
            learn(probe, device=plan.hardware.name, software=software_version())

    def costs(self) -> CostReport:
        """Hold what was estimated against what was, once somebody has waited for the end."""
        outcome = self._record.outcome
        return CostReport(compare(self.ref, self.plan.estimate, None if outcome is None else Outcome.from_dict(outcome)))

    def _meter(self) -> Meter:
        estimate = self.plan.estimate
        return Meter(accrual=None if estimate is None else estimate.accrual, submitted_at=self._record.submitted_at)

    def _budget_watch(self) -> BudgetWatch | None:
        plan = self.plan
        if plan.spec.budget_usd is None:
            return None
        accrual = None if plan.estimate is None else plan.estimate.accrual
        return BudgetWatch(budget_usd=plan.spec.budget_usd, accrual=accrual, submitted_at=self._record.submitted_at)

    def _stop_over_budget(
        self, watch: BudgetWatch, status: RunStatus, *, poll_s: float, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> RunStatus:
        """Cancel a run that has cost as much as it may; gives its last status, which is another one if it was done before the request came."""
        owed = watch.owed_usd(status, clock_s=clock())
        # Written down first: whoever opens the run later must learn why it was cancelled, even if this process dies now.
        self._record = self._ledger.over_budget(self.ref, watch.why_cancelled(owed, interval_s=poll_s))
        return self.cancel(clock=clock, sleep=sleep)

    def _over_budget_reason(self, status: RunStatus) -> str:
        """Say why the run was stopped, if that was because of its budget; else nothing."""
        if status.state in ("succeeded", "failed") or self._record.submitted_at is None:
            return ""
        return status.reason if status.native == OVER_BUDGET else self._record.reason

    def cancel(self, *, wait_s: float = 60.0, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> RunStatus:
        """Stop the run. A worker that doesn't answer is ended the hard way; cancelling twice does nothing.

        Args:
            wait_s: How long to wait for the end.
            clock: Seconds; only differences count.
            sleep: Waits for some seconds.
        """
        if self._record.submitted_at is None and not self._is_there():
            return self.status()
        deadline = clock() + wait_s
        while True:
            self._backend.cancel(self._ref())
            status = self.status()
            if status.is_terminal or clock() >= deadline:
                return status
            sleep(0.2)

    def collect(self, into: str | Path | None = None) -> Artifact:
        """Bring the weights into a folder and check them against their manifest.

        Args:
            into: An empty or new folder; None means a folder in ftsdk's home, which is filled once.

        Raises:
            RunNotReadyError: The run hasn't succeeded.
        """
        from ftsdk.runfolder.manifest import verify

        if into is None:
            folder = self._folder() / "artifact"
            try:
                manifest = verify(folder)
            except CorruptArtifactError:
                return self._backend.collect(self._ref(), folder)
            return Artifact(path=folder, kind=manifest["kind"], base=manifest["base"], manifest=manifest)
        folder = Path(into).expanduser()
        if folder.exists() and any(folder.iterdir()) and not (folder / "manifest.json").exists():
            raise RunNotReadyError(f"{folder} isn't empty and isn't an artifact; give a new folder, so that nothing of yours is overwritten")
        return self._backend.collect(self._ref(), folder)

    def model(self) -> Model:
        """Give the tuned model as a `Model` again: to evaluate, or to tune further."""
        artifact = self.collect()
        if artifact.kind == "model":
            return Model(id=str(artifact.path))
        return self.base_model().replace(adapter=str(artifact.path))

    def base_model(self) -> Model:
        """The model that was tuned."""
        return self.plan.spec.model

    def evaluate(
        self,
        evals: Sequence[Eval] | None = None,
        *,
        base: Model | Endpoint | None = None,
        tuned: Model | Endpoint | None = None,
        progress: bool = True,
    ) -> EvalReport:
        """Compare base and tuned model on the same examples.

        Results are kept, example by example, in ftsdk's home; evaluating again reads them.

        Args:
            evals: None means those of the job.
            base: What to compare with, here or at an endpoint. None loads the model that was tuned on this machine.
            tuned: Where the tuned model answers. None brings it to this machine and loads it.
            progress: Show how far it is.

        Raises:
            RunNotReadyError: The run hasn't succeeded, or there is nothing to evaluate on.
        """
        from ftsdk.data import Dataset
        from ftsdk.evals import Eval, evaluate, targets
        from ftsdk.run.progress import make_bar

        chosen = list(evals) if evals is not None else [Eval.from_dict(e, Dataset.from_dict) for e in self._record.evals]
        if not chosen:
            raise RunNotReadyError(f"run {self.ref} has no evals; pass some: run.evaluate([Eval.exact_match(test)])")
        pair = targets(base or self.base_model(), tuned or self.model())
        with make_bar(progress) as on_progress:
            return evaluate(chosen, pair, into=self._folder() / "evals", title=f"run {self.ref}", on_progress=on_progress)

    def serve(
        self,
        *,
        hardware: str | None = None,
        budget_usd: float | None = None,
        max_hours: float | None = None,
        idle_stop_s: int | None = None,
        poll_s: float = 5.0,
    ) -> Deployment:
        """Decide how the tuned model is served, as a block: `with run.serve(budget_usd=10) as served: served.endpoint`.

        Nothing is started before the block, so `print(run.serve(budget_usd=10))` shows hardware, price and limits for nothing. At the end
        of the block, of the time or of the process it is stopped, and the place stops it by itself when it has no requests.

        Args:
            hardware: In the backend's words, see `serving_offers`; None takes the cheapest that is free.
            budget_usd: Never spend more, in US dollars, whatever dies when. This or `max_hours` is needed.
            max_hours: Stop after so many hours.
            idle_stop_s: After so many seconds without a request the place itself stops it; None takes the shortest that it allows.
            poll_s: Seconds between two looks at it.

        Raises:
            BudgetExceededError: The budget doesn't pay for five minutes and the idle time.
            RunNotReadyError: The run hasn't succeeded.
            SpecError: The backend or the model can't be served, a limit is missing, or an earlier deployment isn't stopped.
        """
        from ftsdk.deploy.deployments import make_deployment

        return make_deployment(
            self._backend,
            self._ref(),
            self.status(),
            folder=self._folder(),
            hardware=hardware,
            budget_usd=budget_usd,
            max_hours=max_hours,
            idle_stop_s=idle_stop_s,
            poll_s=poll_s,
        )

    def serving_offers(self) -> Sequence[ServingOffer]:
        """List the hardware that can serve the tuned model, with its price; empty if nothing can. Starts nothing."""
        from ftsdk.protocol.serving import CanServe

        return self._backend.serving_offers(self._ref()) if isinstance(self._backend, CanServe) else []

    def deployments(self) -> list[Deployment]:
        """List the deployments of this run that aren't known to be stopped, whoever started them; each has `stop()`."""
        from ftsdk.deploy.deployments import deployments_in
        from ftsdk.protocol.serving import CanServe

        return deployments_in(self._folder(), self._backend) if isinstance(self._backend, CanServe) else []

    def _folder(self) -> Path:
        return home() / "results" / self.ref.replace(":", "-")

    def _ref(self) -> RunRef:
        parsed = RunRef.parse(self.ref)
        return RunRef(backend=parsed.backend, id=parsed.id, native=self._record.native)

    def _status_of_intent(self) -> RunStatus:
        if self._record.state in TERMINAL:
            is_failed = self._record.state == "failed"
            return RunStatus(
                state="failed" if is_failed else "cancelled",
                native="refused" if is_failed else "never started",
                reason=self._record.reason,
                diagnosis=Diagnosis("refused", self._record.reason) if is_failed else None,
            )
        return RunStatus(
            state="queued", native="intended", reason="it was never confirmed that the backend got it; wait() submits it again, under the same key"
        )

    def _is_there(self) -> bool:
        """Tell if the backend has a run whose submission was never confirmed; one that it hasn't is over, and nothing was started."""
        if self._record.state in TERMINAL:
            return False
        backend = self._backend
        if isinstance(backend, CanFind):
            found = backend.find(self.plan, key=RunRef.parse(self.ref).id)
            if found is None:
                self._record = self._ledger.never_started(self.ref, "cancelled", "cancelled before anything was started")
                return False
            self._record = self._ledger.submitted(self.ref, found.native)
        else:
            # Submitting again, under the same key, is the one way to ask a backend that can't look.
            self._record = submit(self._record, self.plan, backend, self._ledger)
        return True


def submit(record: Record, plan: Plan, backend: Backend, ledger: Ledger) -> Record:
    """Submit a run that is in the ledger, under its key: the same run, whether the backend has heard of it or not.

    Raises:
        FtsdkError: What the backend said. If it refused the spec, the data or the budget, nothing was started, and the ledger says so;
            otherwise the run stays intended, and can be submitted again.
    """
    try:
        ref = backend.submit(plan, key=RunRef.parse(record.ref).id)
    except (SpecError, DatasetError, BudgetExceededError) as error:
        ledger.never_started(record.ref, "failed", str(error))
        raise
    return ledger.submitted(record.ref, ref.native)
