"""Jobs from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftsdk.job.job import FineTuneJob

__all__ = ["load_job"]


def load_job(path: Path, backend: str | None) -> FineTuneJob:
    """Return the job in a file, on the given backend if there is one."""
    from ftsdk.job.job import FineTuneJob

    job = FineTuneJob.from_yaml(path)
    return job.replace(backend=backend) if backend else job
