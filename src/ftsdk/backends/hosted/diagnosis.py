"""From an exception in a worker to a sentence that helps."""

from __future__ import annotations

import errno

from ftsdk.backends.hosted.device_errors import find_device_error
from ftsdk.backends.hosted.trainer import TrainingStopped
from ftsdk.errors import CredentialsError, DatasetError, Diagnosis, FtsdkError, MissingExtraError, ModelError, SpecError

__all__ = ["crash_loop", "diagnose"]


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
                "raise checkpoint_steps, so that fewer are written",
            ),
        )
    # The first one that knows: a failed device often makes further errors on the way out.
    for cause in reversed(chain):
        found = None if isinstance(cause, FtsdkError) else find_device_error(cause)
        if found is not None:
            text = " ".join(str(cause).split("\n")[0].split())[:500]
            return Diagnosis(found.kind, text or type(cause).__name__, step, found.suggestions)
    if isinstance(error, MissingExtraError | ImportError):
        return Diagnosis("missing_package", str(error), step, ("install it in the environment of the worker",))
    if isinstance(error, DatasetError):
        return Diagnosis("data", str(error), step, ("look at what is trained: job.preview()",))
    if isinstance(error, ModelError):
        return Diagnosis("model", str(error), step)
    if isinstance(error, SpecError | CredentialsError):
        return Diagnosis("spec", str(error), step)
    kind = "internal" if isinstance(error, FtsdkError) else "crash"
    return Diagnosis(
        kind, f"{type(error).__name__}: {error}"[:2000], step, ("the traceback is in worker.log in the run's folder",)
    )


def crash_loop(attempts: int, *, step: int | None, log_tail: str) -> Diagnosis:
    """Return the diagnosis of a worker that crashes repeatedly without progress."""
    hint = (
        "the system may have killed it for lack of memory" if not log_tail.strip() else "its last lines are in the log"
    )
    return Diagnosis(
        "crash_loop",
        f"the worker crashed {attempts} times in a row without a new checkpoint; {hint}",
        step,
        (
            "look at worker.log in the run's folder",
            "watch the memory of the machine while it runs",
            "a smaller checkpoint_steps=, so that each attempt gets further",
        ),
    )


def _is_disk_full(chain: list[BaseException]) -> bool:
    if any(isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) for e in chain):
        return True
    # safetensors and torch.save write from native code, and say so in words only.
    words = (
        "No space left on device",
        "File too large",
        "Disk quota exceeded",
        "PytorchStreamWriter failed writing",
        "iostream error",
    )
    return any(_says(chain, said) for said in words)


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
