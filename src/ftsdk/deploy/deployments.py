"""A tuned model behind an endpoint, for as long as a block lasts, and stopped for sure.

What is about to be started is on disk before the first request, beside the run's results. So a process that comes after a crash
finds it there and stops it: `run.deployments()`, or `ftsdk stop REF`.
"""

from __future__ import annotations

import atexit
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from ftsdk._files import replace_file
from ftsdk._home import home
from ftsdk.errors import BackendError, BudgetExceededError, CredentialsError, FtsdkError, RunNotReadyError, SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol import Backend, RunRef, RunStatus
from ftsdk.protocol.serving import CanServe, ServingPlan, ServingStatus, plan_serving
from ftsdk.spec import Value

__all__ = ["Deployment", "DeploymentRecord", "deployments", "deployments_in", "make_deployment"]

FOLDER = "serving"


class DeploymentRecord(Value):
    """What is on disk about a deployment. Never a secret."""

    name: str
    """Chosen by us; the backend finds by it what was started."""
    ref: str
    """The run whose model it serves."""
    plan: ServingPlan
    state: Literal["intended", "started", "stopped"] = "intended"
    """`stopped` is written only after the backend was asked and had nothing left."""
    native: dict[str, str] = Field(default_factory=dict[str, str])
    """What the backend calls things."""
    intended_at: float
    """Seconds since the epoch."""
    billed_after: float | None = None
    """The last time that it was known not to be ready, in seconds since the epoch: billing can't have begun earlier."""
    stopped_at: float | None = None

    def __str__(self) -> str:
        return f"{self.name} [{self.state}] {self.plan}"

    @property
    def cost_usd(self) -> Decimal | None:
        """What it has cost at most, in US dollars, by whole minutes; None if it wasn't started or isn't stopped."""
        price = self.plan.offer.price_usd_per_hour
        if price is None or self.stopped_at is None or self.billed_after is None:
            return None
        minutes = Decimal(str((self.stopped_at - self.billed_after) / 60)).to_integral_value(ROUND_CEILING)
        return (price * minutes / 60).quantize(Decimal("0.01"), ROUND_CEILING)


class Deployment:
    """A tuned model that is served for as long as a `with` block lasts. `print` it before: that shows the price and starts nothing.

    `run.serve(...)` makes it; entering the block, or `start()`, starts it.
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
    ) -> None:
        """Take what was decided; starts nothing.

        Args:
            record: The decision, or what an earlier process wrote down.
            backend: Where.
            folder: The folder of the records.
            poll_s: Seconds between two looks.
            clock: Seconds since the epoch.
            sleep: Waits for some seconds.
        """
        self._record = record
        self._backend = backend
        self._file = folder / f"{record.name}.json"
        self._poll_s = poll_s
        self._clock = clock
        self._sleep = sleep
        self._endpoint: Endpoint | None = None
        self._stopping = threading.Lock()
        self._is_over = threading.Event()
        self._is_out_of_time = False

    @property
    def record(self) -> DeploymentRecord:
        """What is known about it, as it is on disk."""
        return self._record

    @property
    def plan(self) -> ServingPlan:
        """What was decided: the hardware, its price, and how long it may run."""
        return self._record.plan

    @property
    def endpoint(self) -> Endpoint:
        """Where the model answers.

        Raises:
            RunNotReadyError: It isn't started, or is stopped.
            BudgetExceededError: Its time was over, and it was stopped.
        """
        self._check_time()
        if self._endpoint is None or self._is_over.is_set():
            raise RunNotReadyError(f"deployment {self._record.name} isn't running; use it as a block: with run.serve(...) as served: served.endpoint")
        return self._endpoint

    def __repr__(self) -> str:
        return f"Deployment({self._record.name!r}, {self._record.state})"

    def __str__(self) -> str:
        return str(self._record)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self.stop()
        if not isinstance(error, BudgetExceededError):
            self._check_time()

    def start(self, *, timeout_s: float = 3600.0) -> Self:
        """Start it and wait until it answers. Stop it with `stop()`; the end of this process stops it too.

        Args:
            timeout_s: Give up, and stop it, after so many seconds. A first start takes up to about 20 minutes at some places.

        Raises:
            BackendError: The place said no, or it didn't come up; what was started is stopped.
            TimeoutError: `timeout_s` is over; it is stopped.
        """
        if self._record.state != "intended" or self._file.exists():
            raise SpecError(f"deployment {self._record.name} was started before; ask for a new one: run.serve(...)")
        atexit.register(self._stop_at_exit)
        self._write(billed_after=self._clock())
        try:
            self._backend.start_serving(RunRef.parse(self._record.ref), self.plan, name=self._record.name, note=self._note)
            self._write(state="started")
            self._wait_until_ready(self._clock() + timeout_s)
        except BaseException:
            self.stop()
            raise
        threading.Thread(target=self._watch_time, name=f"ftsdk-{self._record.name}", daemon=True).start()
        return self

    def status(self) -> ServingStatus:
        """Ask the backend where it is."""
        return self._backend.poll_serving(self._record.name, self._record.native)

    def stop(self, *, wait_s: float = 900.0) -> None:
        """Stop it, and don't come back before the backend has nothing left of it. Stopping twice does nothing.

        Args:
            wait_s: How long to try, in seconds.

        Raises:
            BackendError: It is still there; the place's own stop is the last resort, and `ftsdk stop REF` tries again.
        """
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
                error.add_note(f"deployment {self._record.name} may still bill; stop it with a key that works: ftsdk stop {self._record.ref}")
                raise
            except FtsdkError as error:
                # Whatever it is: giving up early is what costs money here.
                reason, cause = str(error), error
            else:
                if status.state == "gone":
                    return
                reason = status.reason or status.native
            if self._clock() >= deadline:
                price = self.plan.offer.price_usd_per_hour
                raise BackendError(
                    f"deployment {self._record.name} is still there and may bill ${price} an hour: {reason}. "
                    f"It stops by itself {self.plan.idle_stop_s // 60} min after the last request. Try again: ftsdk stop {self._record.ref}",
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
                raise BackendError(f"deployment {self._record.name} didn't come up: {status.native or status.state}: {status.reason}")
            if status.state != "unknown":
                # An answer that didn't come may hide that it is ready by now, so only a look that saw it counts.
                self._record = self._record.replace(billed_after=looked_at)
            if looked_at >= deadline:
                word = status.native or status.state
                raise TimeoutError(f"deployment {self._record.name} was {word} to the end of the wait, and is stopped; raise timeout_s, or try later")
            self._sleep(self._poll_s)

    def _watch_time(self) -> None:
        """Stop it when its time is over, whatever the block is doing."""
        stops_at = (self._record.billed_after or self._clock()) + self.plan.max_s
        while not self._is_over.wait(max(0.0, min(self._poll_s, stops_at - self._clock()))):
            self._is_out_of_time = self._clock() >= stops_at
            if self._is_out_of_time:
                break
        while self._is_out_of_time and self._record.state != "stopped":
            try:
                self.stop()
            except FtsdkError:  # the end of the block tries too, and says what is wrong
                self._sleep(self._poll_s)

    def _check_time(self) -> None:
        if self._is_out_of_time:
            raise BudgetExceededError(
                f"deployment {self._record.name} was stopped: it ran for {self.plan.max_s / 3600:.3g} h, which is all that its limits allow "
                f"(at most ${self.plan.at_most_usd:.2f}). What was measured until then is kept; raise budget_usd or max_hours"
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
    """Decide what `run.serve` starts; starts nothing. See `Run.serve`."""
    if not isinstance(backend, CanServe):
        raise SpecError(
            f"backend {backend.name!r} can't serve models. Serve the weights with a server of your own (run.collect('folder')), "
            "and measure it: run.evaluate(tuned=Endpoint(url=..., model=...))"
        )
    if status.state != "succeeded":
        raise RunNotReadyError(f"run {ref} is {status.state}; only the model of a run that succeeded can be served")
    for earlier in deployments_in(folder, backend):
        raise SpecError(f"run {ref} has a deployment that isn't stopped, {earlier.record.name}; stop it first: ftsdk stop {ref}")
    offers = backend.serving_offers(ref)
    if not offers:
        raise SpecError(f"no hardware at {backend.name!r} can serve the model of run {ref}; collect the weights and serve them elsewhere")
    plan = plan_serving(offers, hardware=hardware, budget_usd=budget_usd, max_hours=max_hours, idle_stop_s=idle_stop_s)
    name = re.sub(r"[^a-z0-9]+", "-", f"ftsdk-{ref.id.lower()}")[:40].strip("-") + f"-{uuid.uuid4().hex[:8]}"
    record = DeploymentRecord(name=name, ref=str(ref), plan=plan, intended_at=clock())
    return Deployment(record, backend, folder=folder / FOLDER, poll_s=poll_s, clock=clock, sleep=sleep)


def deployments_in(folder: Path, backend: CanServe) -> list[Deployment]:
    """List the deployments of a run that aren't known to be stopped, from any process.

    Args:
        folder: The folder of the run's results.
        backend: Where they are.
    """
    return [Deployment(record, backend, folder=file.parent) for file, record in _records(folder) if record.state != "stopped"]


def deployments() -> list[DeploymentRecord]:
    """List the deployments of all runs that aren't known to be stopped, from any process: what is on disk, without asking anybody.

    Stop one with `Run.open(record.ref).deployments()`, or `ftsdk stop REF`.
    """
    return [record for folder in sorted((home() / "results").glob("*/")) for _, record in _records(folder) if record.state != "stopped"]


def _records(folder: Path) -> Iterator[tuple[Path, DeploymentRecord]]:
    for file in sorted((folder / FOLDER).glob("*.json")):
        yield file, DeploymentRecord.from_json(file.read_bytes())
