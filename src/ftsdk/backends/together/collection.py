"""From a finished job to an artifact like any other."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ftsdk.backends.managed.archive import publish, unpack
from ftsdk.backends.managed.run_state import RunFolder
from ftsdk.backends.together.catalogue import catalogue
from ftsdk.backends.together.client import Wire
from ftsdk.errors import BackendError, CorruptArtifactError
from ftsdk.protocol import Artifact
from ftsdk.runfolder import lock

__all__ = ["WEIGHTS", "collect"]

WEIGHTS = ("adapter", "merged")
"""What can be brought of a LoRA job: the adapter, or the whole model with the adapter in it."""

_TRIES = 6


def collect(wire: Wire, folder: RunFolder, into: Path, *, weights: str, sleep: Callable[[float], None]) -> Artifact:
    """Download the weights, unpack them beside the run, move them into place and seal them.

    Args:
        wire: The connection.
        folder: The run.
        into: The artifact's folder.
        weights: One of `WEIGHTS`; full fine-tuning gives the whole model whatever this says.
        sleep: Waits for some seconds, between two tries of a download that breaks off.
    """
    work = folder.path / "download"
    work.mkdir(parents=True, exist_ok=True)
    descriptor = lock.acquire(work, patience_s=1.0)
    if descriptor is None:
        raise BackendError(f"another process is collecting run {folder.key}; try again when it is done", retryable=True)
    with contextlib.closing(os.fdopen(descriptor)):
        job_id = folder.jobs()[-1]
        kind, base, facts = _what_comes(wire, folder, job_id)
        checkpoint = "model_output_path" if kind == "model" else weights
        if checkpoint == "merged":
            kind = "model"
        archive = work / checkpoint
        _download(wire, job_id, archive, checkpoint=checkpoint, sleep=sleep)
        unpacked = work / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            left_out = unpack(archive, unpacked)
            if left_out:
                facts["left_out"] = left_out
            manifest = publish(unpacked, into, kind=kind, base=base, facts=facts)
        except CorruptArtifactError:
            _forget(archive)
            raise
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        _forget(archive)
    return Artifact(path=into, kind=kind, base=base, manifest=manifest)


def _what_comes(wire: Wire, folder: RunFolder, job_id: str) -> tuple[Literal["adapter", "model"], str, dict[str, Any]]:
    """Say which weights the job has made: from what was asked here, else from what the service says of the job."""
    asked = folder.submission()
    facts: dict[str, Any] = {"trainer": "together", "job": job_id}
    if "spec" in asked:
        request = asked["request"]["create"]
        return "adapter" if request["lora"] else "model", asked["spec"]["model"]["id"], {**facts, "spec": asked["spec"], "training": request}
    job = wire.job(job_id)
    tuning = job.get("training_type") or {}
    name = str(job.get("model") or "")
    known = catalogue().find(name)
    return "model" if tuning.get("type") == "Full" else "adapter", known.hub if known else name, facts


def _download(wire: Wire, job_id: str, archive: Path, *, checkpoint: str, sleep: Callable[[float], None]) -> None:
    """Try until it is whole; a try that brought something doesn't count against the number of tries."""
    failures = 0
    while True:
        had = archive.stat().st_size if archive.exists() else 0
        try:
            wire.download(job_id, checkpoint=checkpoint, into=archive)
        except BackendError as error:
            failures = 0 if archive.exists() and archive.stat().st_size > had else failures + 1
            if not error.retryable or failures >= _TRIES:
                raise
            sleep(min(30.0, 2.0**failures) if error.retry_after_s is None else error.retry_after_s)
        else:
            return


def _forget(archive: Path) -> None:
    archive.unlink(missing_ok=True)
    archive.with_name(f"{archive.name}.json").unlink(missing_ok=True)
