"""The job that a command is about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftsdk.job.job import FineTuneJob

__all__ = ["load_job"]


def load_job(path: Path, backend: str | None) -> FineTuneJob:
    """Read a job, to be run where its file says or on the backend of that name."""
    from ftsdk.job.job import FineTuneJob

    job = FineTuneJob.from_yaml(path)
    return job.replace(backend=backend) if backend else job
