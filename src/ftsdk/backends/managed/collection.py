"""Collecting the weights of a finished job as an artifact."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ftsdk.backends.managed.archive import publish, unpack
from ftsdk.backends.managed.run_state import RunFolder
from ftsdk.backends.managed.service import JobWeights, ManagedService
from ftsdk.errors import BackendError, CorruptArtifactError
from ftsdk.protocol import Artifact
from ftsdk.runfolder import lock

__all__ = ["collect"]

_TRIES = 6
_PROGRESS_BYTES = 1 << 20
"""A try that brought less counts as failed, so that a server that drips doesn't keep the download alive for ever."""


def collect(service: ManagedService, folder: RunFolder, into: Path, *, sleep: Callable[[float], None]) -> Artifact:
    """Download the weights, unpack them in the run's folder, move them to their target folder and seal it.

    Args:
        service: The service.
        folder: The run.
        into: The artifact's folder.
        sleep: Waits for some seconds, between two tries of a download that breaks off.

    Raises:
        CorruptArtifactError: The archive is torn or unsafe, or holds no weights.
        BackendError: The download broke off, or another process collects the run; collecting again resumes it.
    """
    work = folder.path / "download"
    work.mkdir(parents=True, exist_ok=True)
    descriptor = lock.acquire(work, patience_s=1.0)
    if descriptor is None:
        raise BackendError(
            f"another process is collecting run {folder.key}; try again once it has finished", retryable=True
        )
    with contextlib.closing(os.fdopen(descriptor)):
        job_id = folder.jobs()[-1]
        weights = service.describe_weights(job_id, folder.submission())
        archive = work / weights.variant
        _download(service, job_id, weights, archive, sleep=sleep)
        unpacked = work / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            left_out = unpack(archive, unpacked)
            facts = {**weights.facts, **({"left_out": left_out} if left_out else {})}
            manifest = publish(unpacked, into, kind=weights.kind, base=weights.base, facts=facts)
        except CorruptArtifactError:
            _forget(archive)
            raise
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        _forget(archive)
    return Artifact(path=into, kind=weights.kind, base=weights.base, manifest=manifest)


def _download(
    service: ManagedService, job_id: str, weights: JobWeights, archive: Path, *, sleep: Callable[[float], None]
) -> None:
    """Try until the archive is whole. An attempt that received something doesn't count as a failed one."""
    failures = 0
    while True:
        had = archive.stat().st_size if archive.exists() else 0
        try:
            service.download(job_id, weights, into=archive)
        except BackendError as error:
            has = archive.stat().st_size if archive.exists() else 0
            failures = 0 if has - had >= _PROGRESS_BYTES else failures + 1
            if not error.retryable or failures >= _TRIES:
                raise
            sleep(min(30.0, 2.0**failures) if error.retry_after_s is None else error.retry_after_s)
        else:
            return


def _forget(archive: Path) -> None:
    archive.unlink(missing_ok=True)
    archive.with_name(f"{archive.name}.json").unlink(missing_ok=True)
