"""`Run`: a job that was submitted, from any process, on any day."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

from ftsdk._format import html_table
from ftsdk.backends.registry import get_backend
from ftsdk.errors import Diagnosis, RunFailedError
from ftsdk.protocol import TERMINAL, Artifact, Backend, CanResume, Event, Plan, RunRef, RunStatus
from ftsdk.protocol.estimates import Quote
from ftsdk.protocol.serving import CanRentServers, CanServe
from ftsdk.run.artifacts import collect, tuned_model
from ftsdk.run.async_wait import wait_in_thread
from ftsdk.run.budget import BudgetWatch, budget_watch, why_over_budget
from ftsdk.run.evaluation import evals_of, evaluate_run, results_folder
from ftsdk.run.home_access import usable_home
from ftsdk.run.ledger import Ledger, Record, Sighting
from ftsdk.run.outcome import CostReport, Outcome, compare
from ftsdk.run.record import base_model_of
from ftsdk.run.stats import RunStats, record_end
from ftsdk.run.submission import confirm, ref_of, status_of, submit
from ftsdk.run.waiter import Waiter
from ftsdk.spec import Model
from ftsdk.spec.amounts import check_amount
from ftsdk.trackers import TrackedRun, Tracker, TrackerRequest, replay

if TYPE_CHECKING:
    from ftsdk.data import Dataset
    from ftsdk.deploy.deployments import Deployment
    from ftsdk.deploy.servers.engines import Engine, EngineName
    from ftsdk.deploy.servers.served_run import ServedRun
    from ftsdk.evals import Eval, EvalReport, Gate
    from ftsdk.evals.report.build import UsdPerHour
    from ftsdk.evals.targets import Measurable
    from ftsdk.models.export import Export, ExportFormat
    from ftsdk.protocol.serving import ServingOffer
    from ftsdk.run.diagnosis import RunDiagnosis
    from ftsdk.run.difference import RunDifference
    from ftsdk.run.evaluation import Against
    from ftsdk.run.progress import Progress

__all__ = ["Run"]


class Run:
    """A fine-tuning run: `job.submit()` starts one, `Run.open(ref)` finds it again.

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

    def model(self) -> Model:
        """Return the tuned model as a `Model`, to evaluate it or to tune it further.

        Raises:
            RunNotReadyError: The run hasn't succeeded.
        """
        return tuned_model(self.collect(), self.base_model())

    def base_model(self) -> Model:
        """Return the model that was tuned.

        Raises:
            SpecError: The record in the ledger doesn't name one.
        """
        return base_model_of(self._record)

    def training_data(self) -> Dataset:
        """Return the rows that were trained on, from the store: `Fingerprint.of(run.training_data())`.

        Columns that aren't part of a row, such as one to slice by, aren't kept there.

        Raises:
            DatasetError: They aren't in the store of this machine.
        """
        from ftsdk.data import Store

        return Store().load(self.plan.spec.train)

    @property
    def evals(self) -> list[Eval]:
        """The evals of the job."""
        return evals_of(self._record)

    def evaluate(
        self,
        evals: Sequence[Eval] | None = None,
        *,
        base: Measurable | None = None,
        tuned: Measurable | None = None,
        against: Against = (),
        gate: Gate | None = None,
        budget_usd: Decimal | float | None = None,
        accept_at: float = 1.0,
        usd_per_hour: UsdPerHour = None,
        progress: bool = True,
    ) -> EvalReport:
        """Compare base and tuned model, and any others, on the same examples.

        Results are kept, example by example, in ftsdk's home, and read again by a later call. `report.verdict` is that
        of the gate.

        Args:
            evals: None means those of the job.
            base: What to compare with: a model, an endpoint, a function or a target. None loads the base model on this
                machine.
            tuned: What the tuned model is. None downloads it and loads it on this machine.
            against: Other models, endpoints, functions or runs that the tuned model is compared with: a list, in which
                an endpoint goes by the name of its model, or a dict of them by name.
            gate: What the tuned model must show. None means that of the job, if its evals are meant, too.
            budget_usd: The most to spend on endpoints, in US dollars; None: no limit.
            accept_at: The score from which an answer counts as accepted, for the cost of a thousand accepted answers.
            usd_per_hour: US dollars for an hour of the machine of targets whose answers have no price: one price, or
                prices by the names of targets, such as `{"tuned": 0.8}`. None: their cost isn't known.
            progress: Show a progress bar.

        Raises:
            RunNotReadyError: The run hasn't succeeded, or has no evals.
            SpecError: The gate names what the evals don't measure, or there is a budget and a price isn't known.
            BudgetExceededError: The budget is reached; answers are kept, and the next call goes on.
        """
        return evaluate_run(
            self._record,
            evals,
            base=lambda: self.base_model() if base is None else base,
            tuned=lambda: self.model() if tuned is None else tuned,
            against=against,
            gate=gate,
            budget_usd=budget_usd,
            accept_at=accept_at,
            usd_per_hour=usd_per_hour,
            into=self._folder() / "evals",
            progress=progress,
        )

    def export(
        self,
        into: str | Path,
        *,
        to: ExportFormat,
        quantization: str | None = None,
        evals: Sequence[Eval] | None = None,
        on_message: Callable[[str], None] | None = None,
        **options: Any,
    ) -> Export:
        """Write the tuned model for others to run, and prove it, by the run's evals too; see `Model.export`.

        The model card in it has the job, the fingerprints of the data, the last evaluation and the cost.

        Args:
            into: A new or empty folder.
            to: `"adapter"`, `"merged"`, `"gguf"` or `"ollama"`.
            quantization: The number format; None: that of the base, and `"q8_0"` for GGUF.
            evals: None means those of the job; an empty list measures none.
            on_message: Called with one sentence before each slow step.
            **options: The others of `Model.export`.

        Raises:
            RunNotReadyError: The run hasn't succeeded.
            SpecError: An option is invalid, or the folder isn't empty.
            ModelError: The model can't be exported so; says why, and what can.
        """
        from ftsdk.run.exporting import export_run

        return export_run(
            self._record,
            self.model(),
            self._folder() / "evals",
            into,
            to=to,
            quantization=quantization,
            evals=evals,
            on_message=on_message,
            options=options,
        )

    def log_to(self, tracker: TrackerRequest | Tracker) -> int:
        """Send the run's whole history to a tracker, as if it had followed the run, and return how many events it got.

        The same history again makes no doubles in the built-in ones: W&B (online), MLflow and Trackio keep what they
        have, and TensorBoard's files are replaced.

        Args:
            tracker: `"trackio"`, `"tensorboard"`, `"wandb"`, `"mlflow"`, or an object such as `Wandb(project="mails")`.

        Raises:
            SpecError: There is no such tracker.
            MissingExtraError: A package that it needs isn't installed.
            FtsdkError: The tracker failed.
            BackendError: The backend can't be reached.
        """
        plan = self.plan
        spec = plan.spec.to_dict()
        training = plan.request.get("training", {})
        tracked = TrackedRun(id=self.ref.partition(":")[2], spec=spec, training=training, is_replay=True)
        return replay(tracker, tracked, self.events())

    def diagnose(self) -> RunDiagnosis:
        """Look at the run's losses and at its evaluation, and say what to change next, one thing at a time.

        Reads the events and the results that are on disk; loads no model. Evaluate first, with the suites too:
        `run.evaluate([*evals, *general(), *format_bleed(train)])`.

        Raises:
            RunNotFoundError: The backend doesn't know the run.
            BackendError: The backend can't be reached.
        """
        from ftsdk.run.diagnosis import diagnose_run

        return diagnose_run(self._record, self.events())

    def diff(self, other: Run) -> RunDifference:
        """Return what differs between this run and another: their jobs, losses, scores, price and time.

        Raises:
            RunNotFoundError: A backend doesn't know its run.
            BackendError: A backend can't be reached.
        """
        from ftsdk.run.difference import difference

        return difference(self._record, other._record, events=(self.events(), other.events()))

    @overload
    def serve(
        self,
        *,
        budget_usd: float,
        max_hours: float | None = None,
        hardware: str | None = None,
        idle_stop_s: int | None = None,
        poll_s: float = 5.0,
    ) -> Deployment: ...
    @overload
    def serve(
        self,
        *,
        max_hours: float | None = None,
        hardware: str | None = None,
        idle_stop_s: int | None = None,
        poll_s: float = 5.0,
    ) -> Deployment | ServedRun: ...
    @overload
    def serve(self, *, engine: Engine | EngineName, max_hours: float | None = None) -> ServedRun: ...
    def serve(
        self,
        *,
        engine: Engine | EngineName | None = None,
        budget_usd: float | None = None,
        max_hours: float | None = None,
        hardware: str | None = None,
        idle_stop_s: int | None = None,
        poll_s: float = 5.0,
    ) -> Deployment | ServedRun:
        """Return the tuned model as something to serve, for a `with` block; `.endpoint` in it answers chats.

        Without `engine`, a backend that can serve does: then nothing starts before the block, so
        `print(run.serve(budget_usd=10))` shows hardware, price and limits at no cost. The deployment stops at the end
        of the block, of its time limit, or of the process; and the provider stops it when it is idle. For other
        backends, llama.cpp serves on this machine. For several runs behind one address: `ftsdk.serve([run_a, run_b])`.

        Args:
            engine: `"llama.cpp"`, or another one of `ftsdk.serve`, in place of the backend's own.
            budget_usd: The most to spend, in US dollars, even if this process dies. At a backend that bills, either
                this or `max_hours` is required.
            max_hours: Stop after so many hours.
            hardware: One of `serving_offers()`; None picks the cheapest that is available.
            idle_stop_s: Seconds without a request after which the provider stops it; None takes the shortest that it
                allows.
            poll_s: Seconds between two polls.

        Raises:
            BudgetExceededError: The budget doesn't cover five minutes and the idle time.
            RunNotReadyError: The run hasn't succeeded.
            SpecError: The backend or the model can't be served, a limit is missing, an option is for others, or an
                earlier deployment isn't stopped.
        """
        from ftsdk.deploy.deployments import make_deployment
        from ftsdk.deploy.servers.served_run import rent_server, serve_run

        if engine is None and isinstance(self._backend, CanRentServers):
            return rent_server(
                self, gpu=hardware, idle_stop_s=idle_stop_s, budget_usd=budget_usd, max_hours=max_hours, poll_s=poll_s
            )
        is_own = engine is None and (isinstance(self._backend, CanServe) or budget_usd is not None or hardware)
        if not is_own:
            options = {"budget_usd": budget_usd, "hardware": hardware, "idle_stop_s": idle_stop_s}
            return serve_run(self, engine or "llama.cpp", max_hours=max_hours, options=options)
        return make_deployment(
            self._backend,
            ref_of(self._record),
            self.status(),
            folder=self._folder(),
            hardware=hardware,
            budget_usd=budget_usd,
            max_hours=max_hours,
            idle_stop_s=idle_stop_s,
            poll_s=poll_s,
        )

    def serving_offers(self) -> Sequence[ServingOffer]:
        """Return the hardware that can serve the tuned model, with prices; empty if there is none. Starts nothing."""
        return self._backend.serving_offers(ref_of(self._record)) if isinstance(self._backend, CanServe) else []

    def deployments(self) -> list[Deployment]:
        """Return the deployments of this run that aren't known to be stopped, from any process; each has `stop()`."""
        from ftsdk.deploy.deployments import deployments_in

        return deployments_in(self._folder(), self._backend) if isinstance(self._backend, CanServe) else []

    def _folder(self) -> Path:
        return results_folder(self.ref)
