"""Jobs from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftsdk.job.job import FineTuneJob

__all__ = ["load_job"]


def load_job(path: Path, backend: str | None, changes: Sequence[str] | None = None) -> FineTuneJob:
    """Return the job in a file.

    Args:
        path: The file.
        backend: A backend in place of the file's.
        changes: `--set`: fields in place of the file's, each `key=value`.
    """
    from ftsdk.cli.overrides import with_overrides
    from ftsdk.job.job import FineTuneJob
    from ftsdk.job.yaml_file import load_yaml

    if changes:
        data = with_overrides(load_yaml(path), changes)
        job = FineTuneJob.from_dict(data, base=path.expanduser().resolve().parent)
    else:
        job = FineTuneJob.from_yaml(path)
    return job.replace(backend=backend) if backend else job
