"""The launcher for Ray: a run is a job of an existing cluster, with an id that is made of the run's.

The second job of an id is refused by Ray, so a submission whose answer was lost isn't repeated. Ray forgets its jobs
when its head restarts, so a job that it doesn't know is over, and how the run ended is in the event log alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from ftsdk._secrets import redact
from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan, QueuedJob
from ftsdk.backends.hosted.worker import REQUEST
from ftsdk.backends.launchers.hourly import price_in, with_price
from ftsdk.backends.launchers.kept.jobs import JOBS, WAITING, job_id_of, newest_job, number_of, with_job
from ftsdk.backends.launchers.kept.storage import KeptRun, kept_run
from ftsdk.backends.launchers.ray.jobs import Job, Jobs
from ftsdk.backends.launchers.ray.options import Options
from ftsdk.backends.launchers.ray.orphans import orphans
from ftsdk.backends.launchers.ray.plan_launch import WHICH_CLUSTER, hardware_for, plan_launch, submission_of
from ftsdk.backends.launchers.ray.resources import describe_nodes, why_impossible
from ftsdk.backends.launchers.ray.waiting import waiting_from
from ftsdk.backends.launchers.seen_alive import SeenAlive
from ftsdk.errors import BackendError, SpecError
from ftsdk.protocol import Orphan, StateEvent
from ftsdk.runfolder.event_log import EVENTS
from ftsdk.spec import JobSpec

__all__ = ["RayLauncher"]

_LOOK_S = 2.0
"""For how long an answer that a job is alive is used again, in seconds."""
_STOP_S = 90.0
_MOST_JOBS = 1000


class RayLauncher:
    """Starts runs as jobs of a Ray cluster.

    Args:
        options: The arguments of `Ray(...)`.
        clock: Seconds; only differences count.
        sleep: Waits for some seconds.
        look_s: Seconds for which an answer is used again.
    """

    name = "ray"

    def __init__(
        self,
        options: Options,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        look_s: float = _LOOK_S,
    ) -> None:
        self._options = options
        self._clock, self._sleep = clock, sleep
        self._alive: SeenAlive[Job] = SeenAlive(for_s=look_s, clock=clock)
        self._connected: Jobs | None = None

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it: those that differ from the defaults."""
        return with_price(self._options.to_dict(), self._options.usd_per_hour)

    def options_of(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments that a run's launch request was made of."""
        return with_price(request.get("options") or {}, price_in(request))

    def hardware(self, spec: JobSpec) -> Hardware:  # noqa: ARG002 - the nodes are what they are
        """Return what the nodes have, as far as the options say."""
        return hardware_for(self._options)

    def launch(self, spec: JobSpec) -> LaunchPlan:
        """Plan what is asked of the cluster."""
        return plan_launch(spec, self._options)

    def answer(self, *, timeout_s: float) -> str:
        """Return the cluster's version and nodes.

        Raises:
            SpecError: It isn't said which cluster.
            MissingExtraError: Ray isn't installed.
            CredentialsError: The cluster wants a token.
            BackendError: It doesn't answer.
        """
        jobs = Jobs(self._address, timeout_s=timeout_s)
        return f"Ray {jobs.version()}: {describe_nodes(jobs.nodes())}"

    def files(self, run_id: str) -> KeptRun:
        """Return the run's files."""
        if self._options.storage is None:
            raise SpecError("say where runs are kept: Ray(storage='/shared/ftsdk') or Ray(storage='s3://bucket/ftsdk')")
        return kept_run(self._options.storage, run_id)

    def start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        """Submit a job, unless the run has one that isn't over.

        Raises:
            BackendError: The cluster refuses the job, or can never run it, or doesn't answer.
        """
        files = self.files(run_id)
        noted = newest_job(files.read(JOBS))
        newest = self._newest(run_id, noted)
        if newest is not None:
            # Perhaps one whose answer was lost.
            self._note(files, newest.id)
            if newest.is_alive:
                return False
            _refuse_what_never_began(files, newest)
        elif files.has_worker():
            return False
        else:
            self._refuse_the_impossible(request)
        last = newest.id if newest is not None else noted
        job_id = job_id_of(run_id, 1 if last is None else number_of(last) + 1)
        is_new = self._submit(submission_of(request, run_id=run_id, job_id=job_id, client=version("ftsdk")))
        self._note(files, job_id)
        return is_new

    def native(self, run_id: str) -> Mapping[str, str]:
        """Return the id of the run's newest job, its page on the dashboard, and where its files are."""
        job_id = newest_job(self.files(run_id).read(JOBS))
        page = {} if job_id is None else {"job_id": job_id, "url": f"{self._address}/#/jobs/{job_id}"}
        return {**page, "storage": f"{str(self._options.storage).rstrip('/')}/runs/{run_id}"}

    def is_running(self, run_id: str) -> bool:
        """Return whether the run has a job that waits or runs.

        If Ray has forgotten its jobs, whether its files say that a worker is still at work: for a minute, there may be.
        """
        files = self.files(run_id)
        noted = newest_job(files.read(JOBS))
        if noted is None and files.read(REQUEST) is None:
            return False
        newest = self._look(run_id, noted)
        return files.has_worker() if newest is None else newest.is_alive

    def queued(self, run_id: str) -> QueuedJob | None:
        """Return why the run's job hasn't started yet."""
        files = self.files(run_id)
        job = self._look(run_id, newest_job(files.read(JOBS)))
        if job is None or not job.is_alive:
            return None
        if job.state == "PENDING":
            said = redact(" ".join(job.message.split()), limit=300)
            return QueuedJob(native="PENDING", reason=f"Ray job {job.id} waits: {said or 'it was just submitted'}")
        return waiting_from(files.read(WAITING), job.id)

    def stop(self, run_id: str) -> None:
        """Stop the run's job, and wait until it is over and its workers are gone.

        Raises:
            BackendError: It isn't over after that time; retryable.
        """
        files = self.files(run_id)
        job = self._look(run_id, newest_job(files.read(JOBS)), is_fresh=True)
        if job is None or not job.is_alive:
            return
        self._jobs.stop(job.id)
        deadline = self._clock() + _STOP_S
        while (now := self._jobs.find(job.id)) is not None and now.is_alive:
            if self._clock() >= deadline:
                raise BackendError(
                    f"Ray job {job.id} is still {now.state} after {_STOP_S:g} s; stop it with `ray job stop --address "
                    f"{self._address} {job.id}`",
                    retryable=True,
                )
            self._sleep(0.3)
        self._alive.forget(run_id)

    def record_end(self, run_id: str, end: StateEvent) -> bool:
        """Append the run's last event, unless it has a job that isn't over, or an end."""
        files = self.files(run_id)
        job = self._look(run_id, newest_job(files.read(JOBS)), is_fresh=True)
        if job.is_alive if job is not None else files.has_worker():
            return False
        return files.record_end(end)

    def list_orphans(self, states: Mapping[str, str]) -> list[Orphan]:
        """Return jobs that no run needs, and runs that have no job. Changes nothing.

        Args:
            states: State by run id, of all runs in the ledger.
        """
        return orphans(self._jobs.ours(), states, address=self._address)

    @property
    def _address(self) -> str:
        if self._options.address is None:
            raise SpecError(WHICH_CLUSTER)
        return self._options.address.rstrip("/")

    @property
    def _jobs(self) -> Jobs:
        if self._connected is None or self._connected.owner != os.getpid():
            self._connected = Jobs(self._address)
        return self._connected

    def _look(self, run_id: str, noted: str | None, *, is_fresh: bool = False) -> Job | None:
        """Return the run's newest job that Ray knows, or None.

        Args:
            run_id: The run.
            noted: The newest one that its files know.
            is_fresh: Ask Ray even if it was asked just now.
        """
        return self._alive.look(run_id, lambda: self._newest(run_id, noted), is_fresh=is_fresh)

    def _newest(self, run_id: str, noted: str | None) -> Job | None:
        """Ask for the newest noted job, and for later ones, which a client that died didn't note."""
        found = None if noted is None else self._jobs.find(noted)
        number = 1 if noted is None else number_of(noted) + 1
        # What has an end needs no successor: a job that is alive is the last one.
        while (found is None or not found.is_alive) and number <= _MOST_JOBS:
            following = self._jobs.find(job_id_of(run_id, number))
            if following is None:
                break
            found, number = following, number + 1
        return found

    def _submit(self, body: Mapping[str, Any]) -> bool:
        """Submit a job once. Return False if another client has submitted it at the same time."""
        try:
            self._jobs.submit(body)
        except BackendError:
            # Refused because the id is used, or its answer was lost: then it is there.
            if self._jobs.find(str(body["submission_id"])) is None:
                raise
            return False
        return True

    def _note(self, files: KeptRun, job_id: str) -> None:
        content = with_job(files.read(JOBS), job_id)
        if content is not None:
            files.write(JOBS, content)

    def _refuse_the_impossible(self, request: Mapping[str, Any]) -> None:
        """Refuse a run whose nodes the cluster doesn't have, which would wait for ever."""
        if request["autoscaling"]:
            return
        try:
            nodes = self._jobs.nodes()
        except BackendError as error:
            if error.retryable:
                raise
            return  # the driver finds out
        reason = why_impossible(request["bundle"], request["nodes"], nodes)
        if reason:
            raise BackendError(reason)


def _refuse_what_never_began(files: KeptRun, job: Job) -> None:
    """Raise if a job failed before its worker began: the next one would, too.

    Raises:
        BackendError: With the end of what it said.
    """
    # Of a job whose head or supervisor died, Ray says something else, and the next one may do better.
    if job.state == "FAILED" and "entrypoint command failed" in job.message and files.read(EVENTS) is None:
        lines = [line for line in job.message.splitlines() if line.strip()]
        said = redact("\n".join(lines[-8:]), limit=1500)
        raise BackendError(
            f"Ray job {job.id} failed before any training began; the cluster needs ftsdk[local] in the version "
            f"{version('ftsdk')}, by its image or by runtime_env={{'pip': [...]}}, and access to the storage. Submit "
            f"the job again as a new run once that is so. It said:\n{said}"
        )
