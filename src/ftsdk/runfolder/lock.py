"""The lock that lets one worker at a time use a run's folder.

The lock is an open file locked with `flock`, so the kernel releases it when its holder dies, however it dies: there is
no stale lock, and no process id that another process has by now. A parent can take the lock and pass the open file to
the worker that it starts, so that the run never looks abandoned in between.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path

from ftsdk.errors import BackendError

__all__ = ["INHERITED", "acquire", "hold", "holder_of", "is_held", "sign"]

LOCK = "worker.lock"
INHERITED = "FTSDK_LOCK_FD"
"""Environment variable with the descriptor of an open file that already holds the lock."""


def acquire(folder: Path, *, patience_s: float = 0.2, name: str = LOCK) -> int | None:
    """Take the lock. Return the open file's descriptor, or None if another process has it.

    Args:
        folder: The run's folder.
        patience_s: Seconds to try for: `is_held` in another process takes the lock for a moment, too.
        name: The file that is locked; another one than the worker's, for another right.
    """
    flock = _flock()
    try:
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (IsADirectoryError, PermissionError) as error:
        raise BackendError(f"{folder / name} can't be opened ({error.strerror}); check its permissions") from error
    deadline = time.monotonic() + patience_s
    while True:
        try:
            flock.flock(descriptor, flock.LOCK_EX | flock.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.01)
        else:
            return descriptor


def is_held(folder: Path) -> bool:
    """Return whether a process holds the lock."""
    flock = _flock()
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (IsADirectoryError, PermissionError) as error:
        raise BackendError(f"{folder / LOCK} can't be opened ({error.strerror}); check its permissions") from error
    try:
        flock.flock(descriptor, flock.LOCK_SH | flock.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def sign(folder: Path) -> None:
    """Write the process id into the lock that this process holds, so that others can kill it."""
    (folder / LOCK).write_text(json.dumps({"pid": os.getpid(), "group": os.getpgid(0)}))


def holder_of(folder: Path) -> tuple[int, int] | None:
    """Return process id and process group of the worker; None if there is none, or it hasn't signed yet."""
    if not is_held(folder):
        return None
    try:
        noted = json.loads((folder / LOCK).read_text())
        return int(noted["pid"]), int(noted["group"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def hold(folder: Path) -> Generator[bool]:
    """Hold the lock for a block: the inherited one, or a new one. Yield False if another process has it."""
    inherited = os.environ.pop(INHERITED, None)
    descriptor = int(inherited) if inherited else acquire(folder)
    if descriptor is None:
        yield False
        return
    os.set_inheritable(descriptor, False)
    try:
        sign(folder)
        yield True
    finally:
        os.close(descriptor)


def _flock():
    try:
        import fcntl
    except ImportError as error:
        raise BackendError(f"local runs need a POSIX system (Linux, macOS, WSL); this is {sys.platform}") from error
    return fcntl
