"""The jobs of a run: their ids, and the file beside the run's that lists them."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["JOBS", "WAITING", "job_id_of", "jobs_from", "newest_job", "number_of", "with_job"]

JOBS = "jobs.json"
"""A file in the run's folder: the ids of its jobs, oldest first."""
WAITING = "waiting.json"
"""A file in the run's folder while its job waits for nodes: why, and whether it waits in vain."""


def job_id_of(run_id: str, number: int) -> str:
    """Return the id of a run's first, second, ... job. An id is used up by a job that has ended."""
    # No run id has a "~", so no two runs share an id.
    return f"ftsdk-{run_id}" if number == 1 else f"ftsdk-{run_id}~{number}"


def number_of(job_id: str) -> int:
    """Return which of its run's jobs it is, from 1."""
    number = job_id.rpartition("~")[2] if "~" in job_id else ""
    return int(number) if number.isdigit() else 1


def jobs_from(content: bytes | None) -> list[str]:
    """Return the ids in the file, oldest first; none if it isn't there or is damaged."""
    try:
        noted: Any = json.loads(content or b"{}")
        return [str(job) for job in noted["jobs"]]
    except (ValueError, KeyError, TypeError):
        return []


def newest_job(content: bytes | None) -> str | None:
    """Return the id of the newest job in the file."""
    return max(jobs_from(content), key=number_of, default=None)


def with_job(content: bytes | None, job_id: str) -> bytes | None:
    """Return the file's content with one more job; None if it is in it."""
    jobs = jobs_from(content)
    return None if job_id in jobs else json.dumps({"jobs": [*jobs, job_id]}).encode()
