"""The launcher for Slurm: a worker is a batch job, and a run is a folder that all nodes see.

The scheduler finds a job by its name, which holds the run's id, so a submission whose answer was lost isn't repeated.
It forgets jobs some minutes after their end, so a job that it doesn't know is over, and how the run ended is in the
event log alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ftsdk._files import is_run_id, replace_file
from ftsdk._home import home
from ftsdk._secrets import has_url_secret, is_secret_name
from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan, QueuedJob
from ftsdk.backends.hosted.log_lines import LOG
from ftsdk.backends.hosted.run_end import record_end_in
from ftsdk.backends.launchers.hourly import price_in, with_price
from ftsdk.backends.launchers.local import LocalFiles
from ftsdk.backends.launchers.seen_alive import SeenAlive
from ftsdk.backends.launchers.slurm import scheduler
from ftsdk.backends.launchers.slurm.options import Options
from ftsdk.backends.launchers.slurm.plan_launch import hardware_for, plan_launch
from ftsdk.backends.launchers.slurm.reasons import can_never_start, explain
from ftsdk.backends.launchers.slurm.script import batch_script
from ftsdk.backends.launchers.worker_environment import worker_environment
from ftsdk.errors import BackendError, RunNotFoundError
from ftsdk.protocol import StateEvent
from ftsdk.runfolder import lock
from ftsdk.spec import JobSpec

__all__ = ["JOB", "SlurmLauncher", "job_name"]

JOB = "slurm.json"
"""A file in the run's folder: the ids of its jobs."""
_SUBMISSION = "submission.lock"
_LOOK_S = 5.0
"""For how long an answer of the scheduler that a job is alive is used again, in seconds: it serves everybody."""
_STOP_S = 30.0
_SITE = ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION", "SLURM_CLUSTERS", "SLURM_CONF")
"""Settings of a site or a user that sbatch gets. The rest of Slurm's variables would be those of a surrounding job."""


def job_name(run_id: str) -> str:
    """Return the name of a run's job."""
    return f"ftsdk-{run_id}"


class SlurmLauncher:
    """Starts workers as batch jobs.

    Args:
        options: The arguments of `Slurm(...)`.
        clock: Seconds; only differences count.
        look_s: Seconds for which an answer of the scheduler is used again.
    """

    name = "slurm"

    def __init__(
        self, options: Options, *, clock: Callable[[], float] = time.monotonic, look_s: float = _LOOK_S
    ) -> None:
        self._options = options
        self._clock = clock
        self._alive: SeenAlive[scheduler.Job] = SeenAlive(for_s=look_s, clock=clock)

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
        """Plan nodes, time limit and cost."""
        return plan_launch(spec, self._options)

    def answer(self, *, timeout_s: float) -> str:
        """Return the cluster's partitions, as its scheduler knows them.

        Raises:
            BackendError: There is no Slurm here, or its scheduler doesn't answer.
        """
        return scheduler.describe_cluster(timeout_s=timeout_s)

    def files(self, run_id: str) -> LocalFiles:
        """Return the run's files."""
        return LocalFiles(self.folder(run_id))

    def folder(self, run_id: str) -> Path:
        """Return the path of a run's folder, whether it exists or not."""
        if not is_run_id(run_id):
            raise RunNotFoundError(f"slurm has no run {run_id!r}: that can't be the name of its folder")
        chosen = self._options.folder
        return (home() if chosen is None else Path(chosen).expanduser()) / "runs" / run_id

    def start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        """Submit a job, unless the run has one that isn't over.

        Raises:
            BackendError: The scheduler refuses the job, which could never start, or doesn't answer.
        """
        folder = self.folder(run_id)
        held = lock.acquire(folder, name=_SUBMISSION)
        if held is None:
            return False
        try:
            job = self._look(run_id, is_fresh=True)
            if job is not None:
                # Perhaps one whose answer was lost.
                self._note(folder, job.id)
                return False
            if lock.is_held(folder):
                return False
            flags, script = self._flags(run_id, request), self._script(folder, request)
            environment = _environment(os.environ, folder, device=str(request.get("device")))
            job_id = scheduler.submit_job(flags, script, environment)
            if not _jobs(folder):
                self._refuse_the_impossible(run_id)
            self._note(folder, job_id)
        finally:
            os.close(held)
        return True

    def native(self, run_id: str) -> Mapping[str, str]:
        """Return the id of the run's newest job, and its folder on the cluster."""
        folder = self.folder(run_id)
        jobs = _jobs(folder)
        return {**({"job_id": jobs[-1]} if jobs else {}), "job_name": job_name(run_id), "folder": str(folder)}

    def is_running(self, run_id: str) -> bool:
        """Return whether the run has a job that waits or runs, or a worker holds the folder's lock."""
        folder = self.folder(run_id)
        # The lock is the second line: on some file systems it isn't seen by other hosts.
        return folder.is_dir() and (self._look(run_id) is not None or lock.is_held(folder))

    def queued(self, run_id: str) -> QueuedJob | None:
        """Return why the run's job hasn't started yet."""
        job = self._look(run_id)
        return explain(job.id, job.state, job.reason) if job is not None and job.is_waiting else None

    def stop(self, run_id: str) -> None:
        """Cancel the run's jobs, kill their processes, and wait until they are gone."""
        name = job_name(run_id)
        for job in scheduler.find_jobs(name):
            if job.is_alive:
                if job.is_waiting:
                    scheduler.cancel_job(job.id)
                else:
                    scheduler.kill_job(job.id)
        deadline = self._clock() + _STOP_S
        while self._look(run_id, is_fresh=True) is not None and self._clock() < deadline:
            time.sleep(0.2)

    def record_end(self, run_id: str, end: StateEvent) -> bool:
        """Append the run's last event, unless a worker is running or waits, or the run has an end."""
        return self._look(run_id, is_fresh=True) is None and record_end_in(self.folder(run_id), end)

    def _look(self, run_id: str, *, is_fresh: bool = False) -> scheduler.Job | None:
        """Return the run's job that isn't over, or None.

        Args:
            run_id: The run.
            is_fresh: Ask the scheduler even if it was asked just now.
        """

        def ask() -> scheduler.Job | None:
            return next((job for job in scheduler.find_jobs(job_name(run_id)) if job.is_alive), None)

        return self._alive.look(run_id, ask, is_fresh=is_fresh)

    def _refuse_the_impossible(self, run_id: str) -> None:
        """Cancel a job that would wait for ever.

        One that resumes a run is left: what has run before can run again, once nodes that are down are back.
        """
        job = self._look(run_id, is_fresh=True)
        if job is not None and job.is_waiting and can_never_start(job.reason):
            scheduler.cancel_job(job.id)
            self._alive.forget(run_id)
            raise BackendError(
                f"{explain(job.id, job.state, job.reason).reason}. It would wait for ever, so it was cancelled; "
                "`sinfo` shows what there is"
            )

    def _flags(self, run_id: str, request: Mapping[str, Any]) -> list[str]:
        folder = str(self.folder(run_id))
        log = f"{folder}/{LOG}".replace("%", "%%")
        return [
            f"--job-name={job_name(run_id)}",
            f"--comment={json.dumps({'ftsdk': run_id})}",
            # Two clients that don't see each other's locks may both submit: then one job waits for the other, and finds
            # the run over.
            "--dependency=singleton",
            f"--output={log}",
            f"--error={log}",
            f"--chdir={folder}",
            *(str(flag) for flag in request["sbatch"]),
        ]

    def _script(self, folder: Path, request: Mapping[str, Any]) -> str:
        cpus = [str(f).partition("=")[2] for f in request["sbatch"] if str(f).startswith("--cpus-per-task=")]
        return batch_script(
            folder=str(folder),
            python=str(request.get("python") or sys.executable),
            setup=[str(line) for line in request.get("setup", ())],
            nodes=int(request["nodes"]),
            cpus=int(cpus[0]) if cpus else None,
            lead_s=int(request["lead_s"]),
        )

    def _note(self, folder: Path, job: str) -> None:
        jobs = _jobs(folder)
        if job not in jobs:
            replace_file(folder / JOB, json.dumps({"jobs": [*jobs, job]}).encode())


def _jobs(folder: Path) -> list[str]:
    """Return the ids of a run's jobs, oldest first."""
    try:
        noted: Any = json.loads((folder / JOB).read_bytes())
        return [str(job) for job in noted["jobs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _environment(environment: Mapping[str, str], folder: Path, *, device: str) -> dict[str, str]:
    """Return the environment of a job, which the scheduler stores: without anything that looks like a secret."""
    found = {
        name: value
        for name, value in worker_environment(environment, names=_SITE).items()
        if not is_secret_name(name) and not has_url_secret(value)
    }
    found.pop("CUDA_VISIBLE_DEVICES", None)
    found.update(
        {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"},
    )
    if device == "cpu":
        found["CUDA_VISIBLE_DEVICES"] = ""
    del folder
    return found
