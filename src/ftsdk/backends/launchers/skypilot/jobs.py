"""Managed jobs: looked for by name, in the queue and among the requests that are on their way to it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ftsdk.backends.launchers.skypilot.api import Api, ControllerDown, shown
from ftsdk.errors import BackendError

__all__ = ["SUBMITTING", "Job", "ManagedJobs", "name_of"]

SUBMITTING = "SUBMITTING"
"""Our word for a job whose request the server still works on."""
_ENDED = frozenset(
    {
        *("SUCCEEDED", "CANCELLED", "FAILED", "FAILED_SETUP", "FAILED_PRECHECKS"),
        *("FAILED_NO_RESOURCE", "FAILED_CONTROLLER"),
    }
)
"""An unknown state counts as alive: no second job is started beside it."""
_PREFIX = "ftsdk-"
_LAUNCH = "sky.jobs.launch"
_QUEUE_S = 120.0


class Job(NamedTuple):
    """A managed job as SkyPilot knows it."""

    name: str
    state: str
    id: int | None = None
    """None while it is being submitted."""
    reason: str = ""
    recoveries: int = 0
    request_id: str = ""
    """Of the launch, while it is being submitted."""

    @property
    def is_alive(self) -> bool:
        """Whether it runs, waits, or is on its way out: then it may have a machine."""
        return self.state not in _ENDED

    @property
    def run_id(self) -> str:
        """The run that it is named after."""
        return self.name.removeprefix(_PREFIX)


def name_of(run_id: str) -> str:
    """Return the name of all jobs of a run."""
    return f"{_PREFIX}{run_id}"


class ManagedJobs:
    """The managed jobs behind an API server."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def find(self, run_id: str, *, refresh: bool = False) -> list[Job]:
        """Return a run's jobs, oldest first.

        Args:
            run_id: The run.
            refresh: Start the jobs controller again if it has stopped, which can take minutes, rather than take it that
                it has no jobs.
        """
        name = name_of(run_id)
        return [job for job in self._list(name, refresh=refresh) if job.name == name]

    def ours(self) -> list[Job]:
        """Return the jobs of all runs."""
        return [job for job in self._list(_PREFIX) if job.name.startswith(_PREFIX)]

    def launch(self, task: str, run_id: str) -> str:
        """Hand in a job, and return the id of the request.

        Raises:
            LostAnswer: It may have arrived.
        """
        return self._api.post("/jobs/launch", {"task": task, "name": name_of(run_id)})

    def launched(self, request_id: str, *, wait_s: float) -> int | None:
        """Return the id of a job that was handed in.

        Raises:
            StillWorking: It isn't known yet.
            BackendError: SkyPilot refuses it.
        """
        found = self._api.result(request_id, wait_s=wait_s)
        job_id = found.get("job_id") if isinstance(found, dict) else None
        # A list, if several were asked for.
        return int(job_id[0] if isinstance(job_id, list) else job_id) if job_id is not None else None

    def cancel(self, jobs: list[Job]) -> None:
        """Ask SkyPilot to end jobs, with their machines, and to drop those that it hasn't taken in yet."""
        if requests := [job.request_id for job in jobs if job.request_id]:
            self._api.ask("/api/cancel", {"request_ids": requests})
        if ids := [job.id for job in jobs if job.id is not None]:
            with contextlib.suppress(ControllerDown):
                self._api.ask("/jobs/cancel", {"job_ids": ids}, wait_s=_QUEUE_S)

    def clusters(self) -> list[str]:
        """Return the names of the machines of our jobs that the server knows to be there."""
        found = self._api.ask("/status", {"include_handle": False, "include_credentials": False}, wait_s=_QUEUE_S)
        names = [str(row.get("name")) for row in _rows(found)]
        return [name for name in names if name.startswith(_PREFIX)]

    def _list(self, name: str, *, refresh: bool = False) -> list[Job]:
        # Requests first: one that is finished between the two is in the queue.
        submitting = [job for job in map(_submitting, _rows(self._api.get("/api/status"))) if job is not None]
        body = {"name_match": name, "all_users": True, "refresh": refresh}
        try:
            found = self._api.ask("/jobs/queue/v2", body, wait_s=600.0 if refresh else _QUEUE_S)
        except ControllerDown:
            if refresh:
                raise
            found = []
        rows = found.get("jobs") if isinstance(found, dict) else found
        jobs = sorted((_job(row) for row in _rows(rows)), key=lambda job: job.id or 0)
        return [*jobs, *submitting]


def _rows(found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise BackendError("the SkyPilot API server's list can't be read; is it another version?", retryable=True)
    return found


def _job(row: Mapping[str, Any]) -> Job:
    said = row.get("failure_reason") or row.get("details") or ""
    job_id = row.get("job_id")
    return Job(
        name=str(row.get("job_name") or ""),
        state=str(row.get("status")),
        id=None if job_id is None else int(job_id),
        reason=shown(str(said)),
        recoveries=int(row.get("recovery_count") or 0),
    )


def _submitting(row: Mapping[str, Any]) -> Job | None:
    if row.get("name") != _LAUNCH or row.get("status") not in ("PENDING", "RUNNING", "WAITING"):
        return None
    try:
        name = json.loads(row["request_body"])["name"]
    except (ValueError, KeyError, TypeError):
        return None  # a colleague's, whose body isn't shown
    return Job(name=str(name), state=SUBMITTING, request_id=str(row.get("request_id") or ""))
