"""What all backends for managed services have in common."""

from __future__ import annotations

import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from ftsdk._files import RUN_ID_RULE, is_run_id
from ftsdk._home import home
from ftsdk.backends.managed.collection import collect
from ftsdk.backends.managed.monitor import JobMonitor, status_at_end
from ftsdk.backends.managed.run_state import RunFolder
from ftsdk.backends.managed.service import ManagedService
from ftsdk.backends.managed.submission import Submission, job_label
from ftsdk.backends.managed.tracking import MirroredTracking
from ftsdk.errors import BackendError, RunNotFoundError, RunNotReadyError, SpecError
from ftsdk.protocol import Artifact, Capabilities, Event, Plan, Recovered, RunRef, RunStatus, check_succeeded
from ftsdk.protocol.estimates import Quote
from ftsdk.spec import JobSpec
from ftsdk.spec.amounts import check_amount
from ftsdk.trackers import Tracker, TrackerRequest, check_trackers

__all__ = ["ManagedBackend"]

ServiceT = TypeVar("ServiceT", bound=ManagedService)


class ManagedBackend(ABC, Generic[ServiceT]):
    """A backend without its plan and its client: a subclass adds `name`, `capabilities`, `options`, `plan`, `_connect`.

    Nothing is sent before `submit`, and a job is created by a request that is sent once.

    Args:
        lock_s: Seconds to wait for another process that submits the same run.
        poll_s: The least seconds between two requests for the same run's events.
        settle_s: Seconds after which a job whose creation got no answer is listed by the service, if it exists.
        clock: Returns seconds since the epoch.
        sleep: Waits for some seconds.
        trackers: Where events are sent in addition to the run's local history, while a process follows the run.
    """

    name: str
    """The word in `backend="..."`."""
    capabilities: Capabilities
    """What the service can do."""
    options: Mapping[str, Any]
    """The arguments that rebuild it, as JSON and without any secret."""

    def __init__(
        self,
        *,
        lock_s: float = 60.0,
        poll_s: float = 2.0,
        settle_s: float = 300.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        trackers: Sequence[TrackerRequest | Tracker] = (),
    ) -> None:
        for name, seconds in (("lock_s", lock_s), ("poll_s", poll_s), ("settle_s", settle_s)):
            check_amount(name, seconds, at_least=0, at_most=86_400)
        self._lock_s, self._poll_s, self._settle_s = lock_s, poll_s, settle_s
        self._clock = clock
        self._sleep = sleep
        self._connection: ServiceT | None = None
        self._folders: dict[str, RunFolder] = {}
        self._mirrored_at: dict[str, float] = {}
        self._trackers = check_trackers(trackers)
        self._tracking = MirroredTracking(self._trackers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.options.items())})"

    @abstractmethod
    def plan(self, spec: Any) -> Plan:
        """Plan the job offline."""

    @abstractmethod
    def _connect(self) -> ServiceT:
        """Open the connection; called once, before the first request."""

    def _model_of(self, plan: Plan) -> str:  # noqa: ARG002 - a default needs no argument
        """Return the service's name of the plan's model, which a job that is found must have; empty: not compared."""
        return ""

    def submit(self, plan: Plan, *, key: str) -> RunRef:
        """Upload the data, check limits and price, and create one job; the same key never creates a second one.

        Raises:
            SpecError: The key can't name a run.
            UnsupportedSpecError: The service's own limits don't allow it; nothing was uploaded.
            DatasetError: The service refused the data; nothing was created.
            BudgetExceededError: The service's price is over `budget_usd`, or its account can't pay; nothing was
                created.
            BackendError: The service refused, or didn't answer. If retryable, the same key may be submitted again.
        """
        ref = self._submitted(plan, key, creates=True)
        assert ref is not None
        return ref

    def find(self, plan: Plan, *, key: str) -> RunRef | None:
        """Look for the job of a run. Creates nothing.

        Raises:
            BackendError: The answer to creating it was lost, and it may still appear in the service's list.
        """
        return self._submitted(plan, key, creates=False)

    def recover(self, key: str) -> Recovered | None:
        """Return what is written down on this machine of a run's submission.

        Raises:
            BackendError: The files can't be read, or the run was submitted from another machine, which has its plan.
        """
        folder = RunFolder(key, service=self.name)
        if not folder.exists:
            return None
        submission = folder.submission()
        if "spec" not in submission:
            raise BackendError(f"run {self.name}:{key} was submitted from another machine; open it there")
        try:
            spec = JobSpec.from_dict(submission["spec"])
            plan = Plan(backend=self.name, spec=spec, request=submission["request"])
        except (SpecError, TypeError, KeyError, AttributeError) as error:
            raise BackendError(f"the {self.name}.json of run {self.name}:{key} is damaged: {error}") from error
        native = folder.native(folder.label) if folder.jobs() else None
        return Recovered(plan=plan, native=native, options=self.options)

    def status(self, ref: RunRef) -> RunStatus:
        """Return the status of the run. Once its end is recorded on this machine, nothing is requested any more.

        Raises:
            RunNotFoundError: Neither this machine nor the service knows it.
        """
        folder = self._folder(ref)
        final = status_at_end(folder)
        if final is not None:
            return final
        if not folder.jobs():
            return RunStatus(
                state="queued",
                native="intended",
                reason="it may not have been created; submit again under the same key",
            )
        return self._monitor(folder).status()

    def events(self, ref: RunRef, *, after: int = -1) -> Iterable[Event]:
        """Return the events that exist now and come after `after`.

        Raises:
            RunNotFoundError: Neither this machine nor the service knows it.
        """
        folder = self._folder(ref)
        is_due = self._clock() - self._mirrored_at.get(ref.id, float("-inf")) >= self._poll_s
        if is_due and folder.jobs() and folder.end_event() is None:
            self._monitor(folder).mirror()
            self._mirrored_at[ref.id] = self._clock()
        self._tracking.send(folder)
        return folder.events(after=after)

    def cancel(self, ref: RunRef) -> None:
        """Request that the run stops. A second request, or one after the end, does nothing.

        Raises:
            RunNotFoundError: Neither this machine nor the service knows it.
            BackendError: It isn't known whether there is a job: submit again under the same key first.
        """
        folder = self._folder(ref)
        if folder.end_event() is not None:
            return
        if not folder.jobs():
            raise BackendError(
                f"run {ref} may not have been created, so it can't be cancelled yet; submit it again first",
                retryable=True,
            )
        self._monitor(folder).cancel()

    def collect(self, ref: RunRef, into: Path) -> Artifact:
        """Download the weights, unpack them safely, and seal them.

        Raises:
            RunNotReadyError: The run hasn't succeeded.
            CorruptArtifactError: What came isn't whole, or isn't safe.
            BackendError: The download broke off; collecting again resumes it.
        """
        folder = self._folder(ref)
        status = self.status(ref)
        check_succeeded(ref, status.state, wanted="weights to collect")
        return collect(self._service(), folder, into, sleep=self._sleep)

    def _ask_price(self, plan: Plan) -> Quote:
        """Upload the data, unless they are there already, and return the service's price. Creates and spends nothing.

        Raises:
            BackendError: The service gives no price.
        """
        drafts = home() / self.name
        drafts.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="quote-", dir=drafts) as folder:
            answer = self._service().quote(plan, self._service().prepare(plan, drafts=Path(folder)))
        if answer is None:
            raise BackendError(f"{self.name} has no quotes; job.estimate() has ftsdk's own estimate")
        return answer.quote

    def _submitted(self, plan: Plan, key: str, *, creates: bool) -> RunRef | None:
        if not is_run_id(key):
            raise SpecError(f"run key {key!r} can't be the name of a folder; use {RUN_ID_RULE}")
        folder = self._open_folder(key)
        label = job_label(key, plan.request, name=plan.spec.name)
        with folder.held(patience_s=self._lock_s) as is_mine:
            if not is_mine:
                raise BackendError(f"another process is submitting run {key}; try again in a moment", retryable=True)
            if creates:
                folder.keep_submission(plan, label)
            if not folder.jobs():
                submission = self._submission(folder, plan, label)
                submission.run() if creates else submission.find()
            return RunRef(backend=self.name, id=key, native=folder.native(label)) if folder.jobs() else None

    def _submission(self, folder: RunFolder, plan: Plan, label: str) -> Submission:
        return Submission(
            self._service(),
            folder,
            plan,
            label,
            model=self._model_of(plan),
            backend=self.name,
            settle_s=self._settle_s,
            clock=self._clock,
            sleep=self._sleep,
        )

    def _job_id(self, ref: RunRef) -> str:
        jobs = self._folder(ref).jobs()
        if not jobs:
            raise RunNotReadyError(f"run {ref} may not have been created, so it has no model to serve")
        return jobs[-1]

    def _folder(self, ref: RunRef) -> RunFolder:
        folder = self._open_folder(ref.id)
        if folder.exists:
            return folder
        if not is_run_id(ref.id) or not ref.native.get("job"):
            raise RunNotFoundError(
                f"{self.name} has no run {ref.id} on this machine, and its ref doesn't have the job's id; see `ftsdk "
                "runs`"
            )
        # Submitted from another machine: the job's id is enough to find it at the service.
        self._service().get_job(ref.native["job"])
        with folder.held(patience_s=self._lock_s) as is_mine:
            if is_mine and not folder.exists:
                folder.adopt(ref.native)
        return folder

    def _open_folder(self, key: str) -> RunFolder:
        # Kept, so that the next poll of a long history reads only what is new.
        return self._folders.setdefault(key, RunFolder(key, service=self.name))

    def _monitor(self, folder: RunFolder) -> JobMonitor:
        return JobMonitor(self._service(), folder, settle_s=self._settle_s, clock=self._clock)

    def _service(self) -> ServiceT:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection
