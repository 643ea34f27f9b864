"""A tuned model behind an endpoint for the duration of a block, and reliably stopped.

A record is on disk before the first request, beside the run's results, so that after a crash another process finds and
stops what was started: `run.deployments()`, or `ftsdk stop REF`.
"""

from __future__ import annotations

import atexit
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from ftsdk._files import make_folder, replace_file
from ftsdk._format import money
from ftsdk._home import home
from ftsdk._rich_text import rich_text
from ftsdk.deploy.deployment_records import FOLDER, DeploymentRecord, deployments, records_in
from ftsdk.errors import BackendError, BudgetExceededError, CredentialsError, FtsdkError, RunNotReadyError, SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol import Backend, RunRef, RunStatus
from ftsdk.protocol.serving import CanServe, ServingPlan, ServingStatus, plan_serving
from ftsdk.runfolder.lock import acquire
from ftsdk.spec.amounts import check_amount

__all__ = [
    "Deployment",
    "DeploymentRecord",
    "deploy_plan",
    "deployments",
    "deployments_in",
    "make_deployment",
    "records_in",
]

_LOCK = "start.lock"


class Deployment:
    """A tuned model that is served for the duration of a `with` block. Printing it shows the price and starts nothing.

    `run.serve(...)` returns one; entering the block, or `start()`, starts it.
    """

    def __init__(
        self,
        record: DeploymentRecord,
        backend: CanServe,
        *,
        folder: Path,
        poll_s: float = 5.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wrap a decision; starts nothing.

        Args:
            record: The decision, or the record of an earlier process.
            backend: The backend that serves.
            folder: The folder of the records.
            poll_s: Seconds between two polls.
            clock: Seconds since the epoch.
            sleep: Waits for some seconds.
            monotonic: Seconds of a clock that is never set, for the time limit.
        """
        check_amount("poll_s", poll_s, at_least=0, at_most=86_400)
        self._record = record
        self._backend = backend
        self._file = folder / f"{record.name}.json"
        self._poll_s = poll_s
        self._clock = clock
        self._sleep = sleep
        self._monotonic = monotonic
        self._billed_from = monotonic()
        self._endpoint: Endpoint | None = None
        self._stopping = threading.Lock()
        self._is_over = threading.Event()
        self._is_out_of_time = False

    @property
    def record(self) -> DeploymentRecord:
        """The record, as it is on disk."""
        return self._record

    @property
    def plan(self) -> ServingPlan:
        """The hardware, its price, and how long it may run."""
        return self._record.plan

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the model.

        Raises:
            RunNotReadyError: It isn't started, or was stopped.
            BudgetExceededError: It reached its time limit, and was stopped.
        """
        self._check_time()
        if self._endpoint is None or self._is_over.is_set():
            raise RunNotReadyError(
                f"deployment {self._record.name} isn't running; use it as a block: with run.serve(...) as served: "
                "served.endpoint"
            )
        return self._endpoint

    def __repr__(self) -> str:
        return f"Deployment({self._record.name!r}, {self._record.state})"

    def __str__(self) -> str:
        return str(self._record)

    __rich__ = rich_text

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self.stop()
        if not isinstance(error, BudgetExceededError):
            self._check_time()

    def start(self, *, timeout_s: float = 3600.0) -> Self:
        """Start it and wait until it answers. Stop it with `stop()`; the end of this process stops it too.

        Args:
            timeout_s: Seconds until it is given up and stopped. A first start takes up to about 20 minutes at some
                providers.

        Raises:
            BackendError: The provider refused, or it didn't become ready; what was started is stopped.
            TimeoutError: `timeout_s` is over; it is stopped.
            SpecError: `timeout_s` isn't a number above 0, or it was started before.
        """
        check_amount("timeout_s", timeout_s, above=0)
        if self._record.state != "intended" or self._file.exists():
            raise SpecError(f"deployment {self._record.name} was started before; make a new one with run.serve(...)")
        self._put_on_record()
        atexit.register(self._stop_at_exit)
        self._billed_from = self._monotonic()
        try:
            self._backend.start_serving(
                RunRef.parse(self._record.ref), self.plan, name=self._record.name, note=self._note
            )
            self._write(state="started")
            self._wait_until_ready(self._clock() + timeout_s)
        except BaseException:
            self.stop()
            raise
        threading.Thread(target=self._watch_time, name=f"ftsdk-{self._record.name}", daemon=True).start()
        return self

    def status(self) -> ServingStatus:
        """Return its status, from the backend."""
        return self._backend.poll_serving(self._record.name, self._record.native)

    def stop(self, *, wait_s: float = 900.0) -> None:
        """Stop it, and return once the backend has nothing left of it. Stopping twice does nothing.

        Args:
            wait_s: Seconds to go on trying.

        Raises:
            SpecError: `wait_s` isn't a number of seconds.
            BackendError: It is still there. The provider's own idle stop is the last resort; `ftsdk stop REF` tries
                again.
        """
        check_amount("wait_s", wait_s, at_least=0)
        with self._stopping:
            self._is_over.set()
            if self._record.state != "stopped" and self._file.exists():
                self._stop_all(self._clock() + wait_s)
                self._write(state="stopped", stopped_at=self._clock())
            atexit.unregister(self._stop_at_exit)

    def _stop_all(self, deadline: float) -> None:
        pause = min(0.5, self._poll_s)
        while True:
            reason = ""
            cause: FtsdkError | None = None
            try:
                status = self._backend.stop_serving(self._record.name, self._record.native)
            except CredentialsError as error:
                error.add_note(
                    f"deployment {self._record.name} may still bill; stop it with a key that works: ftsdk stop "
                    f"{self._record.ref}"
                )
                raise
            except FtsdkError as error:
                # Any error is retried: giving up early is what costs money here.
                reason, cause = str(error), error
            else:
                if status.state == "gone":
                    return
                reason = status.reason or status.native
            if self._clock() >= deadline:
                price = self.plan.offer.price_usd_per_hour
                an_hour = "by the hour" if price is None else f"{money(price)} an hour"
                raise BackendError(
                    f"deployment {self._record.name} is still there and may bill {an_hour}: {reason}. "
                    f"It stops by itself {self.plan.idle_stop_s // 60} min after the last request. Try again: ftsdk "
                    f"stop {self._record.ref}",
                    retryable=True,
                ) from cause
            self._sleep(pause)
            pause = min(2 * pause, 10.0)

    def _wait_until_ready(self, deadline: float) -> None:
        while True:
            looked_at = self._clock()
            try:
                status = self.status()
            except BackendError as error:
                if not error.retryable:
                    raise
                status = ServingStatus(state="unknown", reason=str(error))
            if status.state == "ready" and status.endpoint is not None:
                self._endpoint = status.endpoint
                self._write()
                return
            if status.state in ("failed", "gone", "stopped", "stopping"):
                raise BackendError(
                    f"deployment {self._record.name} didn't come up: {status.native or status.state}: {status.reason}"
                )
            if status.state != "unknown":
                # Without an answer it may be ready by now, so only polls that got one count.
                self._record = self._record.replace(billed_after=looked_at)
                self._billed_from = self._monotonic()
            if looked_at >= deadline:
                word = status.native or status.state
                raise TimeoutError(
                    f"deployment {self._record.name} was still {word} at the timeout, and was stopped; raise "
                    "timeout_s, or try later"
                )
            self._sleep(self._poll_s)

    def _put_on_record(self) -> None:
        """Write the record, unless another process has just done so for the same run: two would bill twice."""
        make_folder(self._file.parent)
        descriptor = acquire(self._file.parent, patience_s=30.0, name=_LOCK)
        if descriptor is None:
            raise SpecError(f"another process is starting a deployment of run {self._record.ref}; try again")
        try:
            for earlier in records_in(self._file.parent.parent):
                if earlier.state != "stopped":
                    raise _not_stopped(earlier)
            self._write(billed_after=self._clock())
        finally:
            os.close(descriptor)

    def _watch_time(self) -> None:
        """Stop it at its time limit, whatever the block is doing: a clock that is set back buys no time."""
        stops_at = (self._record.billed_after or self._clock()) + self.plan.max_s
        ends_at = self._billed_from + self.plan.max_s
        while not self._is_over.wait(
            max(0.0, min(self._poll_s, stops_at - self._clock(), ends_at - self._monotonic()))
        ):
            self._is_out_of_time = self._clock() >= stops_at or self._monotonic() >= ends_at
            if self._is_out_of_time:
                break
        while self._is_out_of_time and self._record.state != "stopped":
            try:
                self.stop()
            except FtsdkError:  # the end of the block tries again, and raises
                self._sleep(self._poll_s)

    def _check_time(self) -> None:
        if self._is_out_of_time:
            raise BudgetExceededError(
                f"deployment {self._record.name} was stopped after {self.plan.max_s / 3600:.3g} h, its time limit "
                f"(at most {money(self.plan.at_most_usd, places=2)}). Results up to then are "
                "kept; raise budget_usd or max_hours"
            )

    def _stop_at_exit(self) -> None:
        self.stop(wait_s=60)

    def _note(self, native: Mapping[str, str]) -> None:
        self._write(native={**self._record.native, **native})

    def _write(self, **changes: Any) -> None:
        self._record = self._record.replace(**changes)
        replace_file(self._file, self._record.to_json(indent=1).encode())


def make_deployment(
    backend: Backend,
    ref: RunRef,
    status: RunStatus,
    *,
    folder: Path,
    hardware: str | None,
    budget_usd: Decimal | float | None,
    max_hours: Decimal | float | None,
    idle_stop_s: int | None,
    poll_s: float = 5.0,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Deployment:
    """Return the deployment for `Run.serve`, which see. Starts nothing."""
    if not isinstance(backend, CanServe):
        raise SpecError(
            f"backend {backend.name!r} can't serve models. Serve the run on this machine: "
            "run.serve(engine='llama.cpp'); or elsewhere: serve([run], engine='vllm').write_files('folder')"
        )
    if status.state != "succeeded":
        raise RunNotReadyError(f"run {ref} is {status.state}; only the model of a run that succeeded can be served")
    offers = backend.serving_offers(ref)
    if not offers:
        raise SpecError(
            f"no hardware at {backend.name!r} can serve the model of run {ref}; collect the weights and serve them "
            "elsewhere"
        )
    plan = plan_serving(offers, hardware=hardware, budget_usd=budget_usd, max_hours=max_hours, idle_stop_s=idle_stop_s)
    return deploy_plan(backend, ref, plan, folder=folder, poll_s=poll_s, clock=clock, sleep=sleep)


def deploy_plan(
    backend: CanServe,
    ref: RunRef,
    plan: ServingPlan,
    *,
    folder: Path | None = None,
    poll_s: float = 5.0,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Deployment:
    """Return a deployment of a plan, on record with a run. Starts nothing.

    Args:
        backend: The backend that serves.
        ref: The run.
        plan: What will be started.
        folder: The folder of the run's results; None: that in ftsdk's home.
        poll_s: Seconds between two polls.
        clock: Seconds since the epoch.
        sleep: Waits for some seconds.

    Raises:
        SpecError: The run has a deployment that isn't stopped.
    """
    folder = home() / "results" / str(ref).replace(":", "-") if folder is None else folder
    for earlier in deployments_in(folder, backend):
        raise _not_stopped(earlier.record)
    name = re.sub(r"[^a-z0-9]+", "-", f"ftsdk-{ref.id.lower()}")[:40].strip("-") + f"-{uuid.uuid4().hex[:8]}"
    record = DeploymentRecord(name=name, ref=str(ref), plan=plan, intended_at=clock())
    return Deployment(record, backend, folder=folder / FOLDER, poll_s=poll_s, clock=clock, sleep=sleep)


def deployments_in(folder: Path, backend: CanServe) -> list[Deployment]:
    """Return the deployments of a run that aren't known to be stopped, from any process.

    Args:
        folder: The folder of the run's results.
        backend: The backend that serves them.
    """
    return [
        Deployment(record, backend, folder=folder / FOLDER)
        for record in records_in(folder)
        if record.state != "stopped"
    ]


def _not_stopped(record: DeploymentRecord) -> SpecError:
    return SpecError(
        f"run {record.ref} has a deployment that isn't stopped, {record.name}; stop it first: ftsdk stop {record.ref}"
    )
