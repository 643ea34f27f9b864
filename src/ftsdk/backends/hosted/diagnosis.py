"""Diagnoses of failed workers: from an exception to its cause and what to try."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from ftsdk.backends.hosted.device_errors import find_device_error
from ftsdk.backends.hosted.trainer import TrainingStopped
from ftsdk.errors import CredentialsError, DatasetError, Diagnosis, FtsdkError, MissingExtraError, ModelError, SpecError
from ftsdk.protocol import CheckpointEvent, Event, StateEvent

__all__ = ["attempts_without_progress", "crash_loop", "diagnose"]


def diagnose(error: BaseException, *, step: int | None) -> Diagnosis:
    """Return why the training failed, and what to try.

    Args:
        error: The exception that the trainer raised.
        step: The last optimizer step that was taken, if any.
    """
    if isinstance(error, TrainingStopped):
        return error.diagnosis
    chain = list(_chain(error))
    if _is_disk_full(chain):
        return Diagnosis(
            "disk_full",
            "the disk (or its quota) was full while a file was written; the last whole checkpoint is untouched",
            step,
            (
                "free some space, then resume from that checkpoint: Run.open(ref).wait()",
                "raise checkpoint_steps=, so that fewer checkpoints are written",
            ),
        )
    # The first one that knows: a failed device often makes further errors on the way out.
    for cause in reversed(chain):
        found = None if isinstance(cause, FtsdkError) else find_device_error(cause)
        if found is not None:
            text = " ".join(str(cause).split("\n")[0].split())[:500]
            return Diagnosis(found.kind, text or type(cause).__name__, step, found.suggestions)
    if isinstance(error, MissingExtraError | ImportError):
        return Diagnosis(
            "missing_package",
            str(error),
            step,
            ("install it where the worker runs, then submit again",),
        )
    if isinstance(error, DatasetError):
        return Diagnosis("data", str(error), step, ("look at the rows as they are trained on: job.preview()",))
    if isinstance(error, ModelError):
        return Diagnosis("model", str(error), step)
    if isinstance(error, SpecError | CredentialsError):
        return Diagnosis("spec", str(error), step)
    kind = "internal" if isinstance(error, FtsdkError) else "crash"
    return Diagnosis(
        kind, f"{type(error).__name__}: {error}"[:2000], step, ("the traceback is in worker.log in the run's folder",)
    )


def attempts_without_progress(events: Sequence[Event]) -> int:
    """Return how many attempts there were since the last checkpoint."""
    tries = 0
    for event in events:
        if isinstance(event, CheckpointEvent):
            tries = 0
        elif isinstance(event, StateEvent) and event.native.startswith("attempt"):
            tries += 1
    return tries


def crash_loop(attempts: int, *, step: int | None, log_tail: str) -> Diagnosis:
    """Return the diagnosis of a run whose workers exit again and again without a new checkpoint."""
    hint = (
        "the operating system may have killed it because memory ran out"
        if not log_tail.strip()
        else "the log has its last output"
    )
    return Diagnosis(
        "crash_loop",
        f"the worker exited {attempts} times in a row without a new checkpoint; {hint}",
        step,
        (
            "read worker.log in the run's folder",
            "watch the machine's memory while it trains",
            "lower checkpoint_steps=, so that each attempt gets to a checkpoint",
        ),
    )


def _is_disk_full(chain: list[BaseException]) -> bool:
    if any(isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) for e in chain):
        return True
    # safetensors and torch.save write from native code; only the message says why they failed.
    messages = (
        "No space left on device",
        "File too large",
        "Disk quota exceeded",
        "PytorchStreamWriter failed writing",
        "iostream error",
    )
    return any(_says(chain, message) for message in messages)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def _says(chain: list[BaseException], words: str) -> bool:
    # Our own errors may quote a row or a path.
    return any(words.lower() in str(error).lower() for error in chain if not isinstance(error, FtsdkError))
