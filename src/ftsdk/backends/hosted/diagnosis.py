"""From an exception in a worker to a sentence that helps."""

from __future__ import annotations

import errno

from ftsdk.backends.hosted.trainer import TrainingStopped
from ftsdk.errors import CredentialsError, DatasetError, Diagnosis, FtsdkError, MissingExtraError, ModelError, SpecError

__all__ = ["crash_loop", "diagnose"]


def diagnose(error: BaseException, *, step: int | None) -> Diagnosis:
    """Say why the training failed, and what to try.

    Args:
        error: What the trainer raised.
        step: The last optimizer step that was made, if any.
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
                "free some space, then go on from that checkpoint: Run.open(ref).wait()",
                "raise checkpoint_steps, so that fewer are written",
            ),
        )
    if any(
        isinstance(e, MemoryError) or type(e).__name__ in ("OutOfMemoryError", "AcceleratorError") for e in chain
    ) or _says(chain, "out of memory"):
        return Diagnosis(
            "out_of_memory",
            str(error).split("\n")[0][:500],
            step,
            (
                "QLoRA() in place of LoRA(): the frozen weights take a quarter of the memory",
                "a smaller max_length=: memory grows with the longest row",
                "a smaller batch_size=, if it is below the number of devices times the accumulation already",
            ),
        )
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
    """Diagnose a worker that dies again and again without getting any further."""
    hint = (
        "the system may have ended it for want of memory" if not log_tail.strip() else "its last words are in the log"
    )
    return Diagnosis(
        "crash_loop",
        f"the worker ended {attempts} times in a row without a new checkpoint; {hint}",
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
    return any(words.lower() in str(error).lower() for error in chain)
