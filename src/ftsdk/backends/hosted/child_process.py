"""A worker, or what starts its ranks, as a child process that ends with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO

from ftsdk.backends.hosted.log_lines import LOG

__all__ = ["die_with_parent", "worker_child"]

# Looked up before a fork, since a forked child shouldn't load anything.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform.startswith("linux") else None


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies: an orphan would keep the folder, port and memory."""
    if _PRCTL is not None:
        pr_set_pdeathsig = 1
        _PRCTL(pr_set_pdeathsig, signal.SIGKILL)


@contextlib.contextmanager
def worker_child(
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    umask: int = -1,
    most_log_bytes: int | None = None,
) -> Generator[subprocess.Popen[bytes]]:
    """Start the worker of a run, copy what it writes, and kill it with all that it started at the end of the block.

    Args:
        folder: The run's folder.
        env: Its environment; None: this process's.
        pass_fds: Open files that it inherits.
        umask: As for `subprocess.Popen`.
        most_log_bytes: Where the run's log ends; None: nowhere. All goes to the output of this process.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "ftsdk.backends.hosted.worker", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=None if env is None else dict(env),
        # The model's folders are named relative to the run's.
        cwd=folder,
        pass_fds=tuple(pass_fds),
        umask=umask,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    assert child.stdout is not None
    copier = threading.Thread(target=_copy_log, args=(child.stdout, folder / LOG, most_log_bytes), daemon=True)
    copier.start()
    try:
        yield child
    finally:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        copier.join(timeout=5)
        child.stdout.close()


def _copy_log(source: IO[bytes], target: Path, most_bytes: int | None) -> None:
    """Copy each line to this process's output and the run's log, closed between lines, as a Modal Volume reloads."""
    with contextlib.suppress(ValueError):  # closed, since something else holds the worker's output open
        for line in source:
            # A full disk must not stop the reading: the worker would wait for ever.
            with contextlib.suppress(OSError):
                sys.stdout.write(line.decode("utf-8", "replace"))
                sys.stdout.flush()
            with contextlib.suppress(OSError):
                if most_bytes is None or not target.exists() or target.stat().st_size < most_bytes:
                    with target.open("ab") as file:
                        file.write(line)
