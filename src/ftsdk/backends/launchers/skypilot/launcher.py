"""The launcher for SkyPilot: a run is a managed job, which is named after it.

SkyPilot takes a second job of the same name without a word, so before each submission its queue is asked, and the
requests that are on their way to it. A job that slips through even so finds the run claimed, and leaves: see `entry`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from ftsdk._secrets import redact
from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan, QueuedJob
from ftsdk.backends.launchers.hourly import price_in, with_price
from ftsdk.backends.launchers.kept.jobs import JOBS, job_id_of, newest_job, number_of, with_job
from ftsdk.backends.launchers.kept.storage import KeptRun, kept_run
from ftsdk.backends.launchers.seen_alive import SeenAlive
from ftsdk.backends.launchers.skypilot.api import Api, LostAnswer, StillWorking, server_address
from ftsdk.backends.launchers.skypilot.jobs import SUBMITTING, Job, ManagedJobs, name_of
from ftsdk.backends.launchers.skypilot.options import Options
from ftsdk.backends.launchers.skypilot.orphans import orphans
from ftsdk.backends.launchers.skypilot.plan_launch import WHICH_STORAGE, hardware_for, plan_launch, task_of
from ftsdk.errors import BackendError, CredentialsError, SpecError
from ftsdk.protocol import Orphan, StateEvent
from ftsdk.runfolder.event_log import EVENTS
from ftsdk.spec import JobSpec

__all__ = ["LAUNCH", "SkyPilotLauncher"]

LAUNCH = "skypilot.json"
"""A file in the run's folder: the request that handed in its newest job, and the job's id once it is known."""
_LAUNCH_S = 60.0
_STOP_S = 600.0
_WAITING = {
    SUBMITTING: "the API server hasn't handed it to the jobs controller yet",
    "PENDING": "it waits for its turn",
    "STARTING": "SkyPilot looks for a machine, and sets it up",
    "RECOVERING": "its machine was taken away; SkyPilot looks for another one",
}
_NEVER_BEGAN = ("FAILED", "FAILED_SETUP", "FAILED_PRECHECKS", "FAILED_NO_RESOURCE", "FAILED_CONTROLLER")


class SkyPilotLauncher:
    """Starts runs as managed jobs.

    Args:
        options: The arguments of `SkyPilot(...)`.
        clock: Seconds; only differences count.
        sleep: Waits for some seconds.
        launch_s: Seconds that `start` waits for SkyPilot to take a job in. The run goes on if it takes longer.
    """

    name = "skypilot"

    def __init__(
        self,
        options: Options,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        launch_s: float = _LAUNCH_S,
    ) -> None:
        self._options = options
        self._launch_s = launch_s
        self._clock, self._sleep = clock, sleep
        self._alive: SeenAlive[Job] = SeenAlive(for_s=options.look_s, clock=clock)
        self._api: Api | None = None

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it: those that differ from the defaults."""
        return with_price(self._options.to_dict(), self._options.usd_per_hour)

    def options_of(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments that a run's launch request was made of."""
        return with_price(request.get("options") or {}, price_in(request, key="given_usd_per_hour"))

    def hardware(self, spec: JobSpec) -> Hardware:  # noqa: ARG002 - the machine is what is asked for
        """Return what the machine will have, as far as the options say."""
        return hardware_for(self._options)

    def launch(self, spec: JobSpec) -> LaunchPlan:
        """Plan what is asked of SkyPilot."""
        return plan_launch(spec, self._options)

    def answer(self, *, timeout_s: float) -> str:
        """Return the server's version, and the clouds that it may use.

        Raises:
            CredentialsError: The server wants a login.
            BackendError: It doesn't answer.
        """
        api = Api(server_address(self._options.server), timeout_s=timeout_s)
        version = str(api.get("/api/health").get("version") or "of an unknown version")
        try:
            clouds = api.ask("/enabled_clouds", None, method="GET", wait_s=timeout_s)
        except StillWorking:
            return f"SkyPilot {version}: it still looks for the clouds that it may use"
        names = ", ".join(sorted(map(str, clouds))) if isinstance(clouds, list) and clouds else "none; run `sky check`"
        return redact(f"SkyPilot {version}: clouds that it may use: {names}", limit=500)

    def files(self, run_id: str) -> KeptRun:
        """Return the run's files."""
        if self._options.storage is None:
            raise SpecError(WHICH_STORAGE)
        return kept_run(self._options.storage, run_id)

    def start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        """Hand in a managed job, unless the run has one that isn't over.

        Raises:
            CredentialsError: A secret isn't in the environment.
            BackendError: SkyPilot refuses the job, or doesn't answer.
        """
        files = self.files(run_id)
        noted = newest_job(files.read(JOBS))
        # If a job was handed in before, "no controller" doesn't do for an answer.
        found = self._jobs.find(run_id, refresh=noted is not None)
        if any(job.is_alive for job in found):
            return False
        if found:
            _refuse_what_never_began(files, found[-1])
        elif files.has_worker():
            return False
        elif noted is not None:
            self._refuse_what_was_refused(files)
        secrets = _secrets(request)
        job_id = job_id_of(run_id, 1 if noted is None else number_of(noted) + 1)
        # Before it is handed in, so that an older job leaves, whatever happens to the answer.
        self._note(files, job_id)
        task = task_of(request, run_id=run_id, job=job_id, name=name_of(run_id), secrets=secrets)
        return self._hand_in(files, run_id, task)

    def native(self, run_id: str) -> Mapping[str, str]:
        """Return the job's name and number, its page on the dashboard, and where its files are."""
        job_id = _launch_of(self.files(run_id)).get("job_id")
        address = server_address(self._options.server)
        page = {} if job_id is None else {"job_id": str(job_id), "url": f"{address}/dashboard/jobs/{job_id}"}
        return {
            "job_name": name_of(run_id),
            **page,
            "storage": f"{str(self._options.storage).rstrip('/')}/runs/{run_id}",
        }

    def is_running(self, run_id: str) -> bool:
        """Return whether the run has a job that waits or runs.

        If SkyPilot knows no job, whether the run's files say that a worker is still at work.
        """
        files = self.files(run_id)
        if newest_job(files.read(JOBS)) is None:
            return False  # it is noted before it is handed in
        job = self._look(run_id)
        return files.has_worker() if job is None else job.is_alive

    def queued(self, run_id: str) -> QueuedJob | None:
        """Return why the run's job has no machine yet, or none any more."""
        if newest_job(self.files(run_id).read(JOBS)) is None:
            return None
        job = self._look(run_id)
        if job is None or job.state not in _WAITING:
            return None
        which = f"managed job {job.id}" if job.id is not None else f"job {job.name}"
        said = f" ({job.reason})" if job.reason else ""
        return QueuedJob(native=job.state, reason=f"{which}: {_WAITING[job.state]}{said}")

    def stop(self, run_id: str) -> None:
        """Cancel all jobs of the run, and wait until SkyPilot says that they are over, and their machines gone.

        Raises:
            BackendError: They aren't after that time; retryable.
        """
        self._alive.forget(run_id)
        deadline = self._clock() + _STOP_S
        asked: set[str] = set()
        while alive := [job for job in self._jobs.find(run_id) if job.is_alive]:
            # One that was on its way may be in the queue now, under its number.
            fresh = [job for job in alive if str(job.id or job.request_id) not in asked]
            self._jobs.cancel(fresh)
            asked.update(str(job.id or job.request_id) for job in fresh)
            if self._clock() >= deadline:
                raise BackendError(
                    f"managed job {alive[0].name} is still {alive[0].state} after {_STOP_S:g} s; look at it with `sky "
                    f"jobs queue`, and end it with `sky jobs cancel -n {alive[0].name}`",
                    retryable=True,
                )
            self._sleep(0.5)

    def record_end(self, run_id: str, end: StateEvent) -> bool:
        """Append the run's last event, unless it has a job that isn't over, or an end."""
        files = self.files(run_id)
        job = None if newest_job(files.read(JOBS)) is None else self._look(run_id, is_fresh=True)
        if job.is_alive if job is not None else files.has_worker():
            return False
        return files.record_end(end)

    def list_orphans(self, states: Mapping[str, str]) -> list[Orphan]:
        """Return jobs that no run needs, machines that no job needs, and runs that have no job. Changes nothing.

        Args:
            states: State by run id, of all runs in the ledger.
        """
        jobs = self._jobs.ours()
        return orphans(jobs, self._jobs.clusters(), states)

    @property
    def _jobs(self) -> ManagedJobs:
        if self._api is None or self._api.owner != os.getpid():
            self._api = Api(server_address(self._options.server))
        return ManagedJobs(self._api)

    def _look(self, run_id: str, *, is_fresh: bool = False) -> Job | None:
        """Return the run's newest job, one that is alive before any other; None if SkyPilot knows none."""

        def ask() -> Job | None:
            found = self._jobs.find(run_id)
            return next((one for one in reversed(found) if one.is_alive), found[-1] if found else None)

        return self._alive.look(run_id, ask, is_fresh=is_fresh)

    def _hand_in(self, files: KeptRun, run_id: str, task: str) -> bool:
        """Hand a job in once. Return False if that isn't known to have been us."""
        try:
            request_id = self._jobs.launch(task, run_id)
        except LostAnswer:
            # If it is there, it is ours, or another client's of the same run.
            if not any(job.is_alive for job in self._jobs.find(run_id)):
                raise
            return False
        files.write(LAUNCH, json.dumps({"request": request_id}).encode())
        try:
            job_id = self._jobs.launched(request_id, wait_s=self._launch_s)
        except (StillWorking, LostAnswer):
            return True  # it is on its way, and found by its name
        except BackendError:
            # What SkyPilot gave up half-way stays in its queue (0.14.1, seen 2026-11-28), and may yet start.
            with contextlib.suppress(BackendError):
                self.stop(run_id)
            raise
        files.write(LAUNCH, json.dumps({"request": request_id, "job_id": job_id}).encode())
        return True

    def _refuse_what_was_refused(self, files: KeptRun) -> None:
        """Raise if the request of the newest job failed after `start` had returned.

        Raises:
            BackendError: It did, for a reason that stays.
        """
        request_id = _launch_of(files).get("request")
        if not request_id or files.read(EVENTS) is not None:
            return
        try:
            self._jobs.launched(str(request_id), wait_s=self._launch_s)
        except BackendError as error:
            if not error.retryable and str(error).startswith("SkyPilot says"):
                raise

    def _note(self, files: KeptRun, job_id: str) -> None:
        content = with_job(files.read(JOBS), job_id)
        if content is not None:
            files.write(JOBS, content)


def _secrets(request: Mapping[str, Any]) -> dict[str, str]:
    names = [str(name) for name in request.get("secrets", ())]
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise CredentialsError(
            f"secrets= names {', '.join(missing)}, which the environment doesn't have; set it here before the run is "
            "submitted or resumed"
        )
    return {name: os.environ[name] for name in names}


def _launch_of(files: KeptRun) -> dict[str, Any]:
    try:
        noted: Any = json.loads(files.read(LAUNCH) or b"{}")
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _refuse_what_never_began(files: KeptRun, job: Job) -> None:
    """Raise if a job failed before its worker began: the next one would, too.

    Raises:
        BackendError: With what SkyPilot says.
    """
    if job.state in _NEVER_BEGAN and files.read(EVENTS) is None:
        advice = {
            "FAILED_NO_RESOURCE": "no machine like that can be had now, or none at that price; try another cloud= or "
            "gpu=, or a higher usd_per_hour=",
            "FAILED_PRECHECKS": "SkyPilot may not use that place; run `sky check`",
            "FAILED_SETUP": "the lines of setup= failed; `sky jobs logs` shows them",
            "FAILED_CONTROLLER": "its controller failed; `sky status` shows whether its machine is still there, and "
            "`sky down` ends it",
        }.get(job.state, f"the machine needs ftsdk[local] and access to the storage; see `sky jobs logs {job.id}`")
        said = f" It said: {job.reason}" if job.reason else ""
        raise BackendError(
            f"managed job {job.id} is {job.state} before any training began; {advice}. Submit the job again as a new "
            f"run once that is mended.{said}"
        )
