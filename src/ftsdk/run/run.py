"""`Run`: a job that was submitted, from any process, on any day, and what its model is good for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ftsdk.protocol.serving import CanRentServers, CanServe
from ftsdk.run.artifacts import tuned_model
from ftsdk.run.evaluation import evals_of, evaluate_run
from ftsdk.run.submission import ref_of
from ftsdk.run.submitted_run import SubmittedRun
from ftsdk.spec import Model
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
    from ftsdk.run.reproduction import Reproduction
    from ftsdk.run.technical_record.record import TechnicalRecord
    from ftsdk.run.technical_record.statements import Statements

__all__ = ["Run"]


class Run(SubmittedRun):
    """A fine-tuning run: `job.submit()` starts one, `Run.open(ref)` finds it again.

    What was submitted is in the ledger, and the state is at the backend, so any process can open any run.
    """

    def model(self) -> Model:
        """Return the tuned model as a `Model`, to evaluate it or to tune it further.

        Raises:
            RunNotReadyError: The run hasn't succeeded.
        """
        return tuned_model(self.collect(), self.base_model())

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

    def technical_record(
        self,
        statements: Statements | str | Path | None = None,
        *,
        region: str | None = None,
        power_w: float | None = None,
    ) -> TechnicalRecord:
        """Return a record of how the model was made: data, licences, job, versions, energy, evaluation, signatures.

        It shares its facts with the model card. What only a person can say comes from `statements`, and what nobody
        said is shown as missing. The weights are collected, if the run has succeeded.

        Args:
            statements: Or the YAML file that has them; `ftsdk record RUN --form` prints an empty one.
            region: The country whose grid it ran on, as an ISO code such as `"DE"`; None: not known.
            power_w: Mean power of the machine in watts, if it was measured; None: estimated from the device.

        Raises:
            SpecError: The statements can't be read, or no carbon intensity is known for the region.
        """
        from ftsdk.run.technical_record.gather import technical_record
        from ftsdk.run.technical_record.statements import read_statements

        given = read_statements(statements) if isinstance(statements, str | Path) else statements
        manifest = self.collect().manifest if self.status().state == "succeeded" else None
        return technical_record(
            self._record, manifest, self._folder() / "evals", statements=given, region=region, power_w=power_w
        )

    def compare_repeat(self, repeat: Run) -> Reproduction:
        """Compare this run with one that did the same job again: losses, weights, and evals that both were measured by.

        `ftsdk.job.reproducing.reproduce(run)` and `ftsdk reproduce RUN` start such a run.

        Raises:
            RunNotReadyError: One of them hasn't succeeded.
        """
        from ftsdk.run.reproduction import compare_repeat, weights_apart

        first, second = self.collect(), repeat.collect()
        return compare_repeat(
            self._record,
            repeat._record,
            events=(self.events(), repeat.events()),
            manifests=(first.manifest, second.manifest),
            weights=weights_apart(first.path, second.path),
            results=(self._folder() / "evals", repeat._folder() / "evals"),
        )

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
