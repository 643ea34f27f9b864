"""How long a worker lived that was killed between two words.

A file that it touches, and whose age its successor reads.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from pathlib import Path

__all__ = ["PULSE", "last_beat", "pulse"]

PULSE = "pulse"


@contextlib.contextmanager
def pulse(folder: Path, *, is_on: bool, every_s: float = 5.0) -> Generator[None]:
    """Inside the block, touch the run's pulse file.

    Args:
        folder: The run's.
        is_on: False does nothing: only where time has a price does anybody want to know.
        every_s: Seconds between two beats, which is how wrong the last one can be.
    """
    if not is_on:
        yield
        return
    is_over = threading.Event()

    def beat() -> None:
        while True:
            with contextlib.suppress(OSError):  # a full disk is for others to complain of
                (folder / PULSE).touch()
            if is_over.wait(every_s):
                return

    thread = threading.Thread(target=beat, name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def last_beat(folder: Path) -> float | None:
    """Say when a worker was last known to live, in seconds since the epoch; None if nothing tells."""
    try:
        return (folder / PULSE).stat().st_mtime
    except OSError:
        return None
