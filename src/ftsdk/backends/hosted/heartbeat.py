"""The heartbeat of a worker: a file that it touches, so that the next worker knows how long a killed one was alive."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

from ftsdk.backends.hosted.background import repeating

__all__ = ["HEARTBEAT", "heartbeat", "last_heartbeat"]

HEARTBEAT = "heartbeat"


@contextlib.contextmanager
def heartbeat(folder: Path, *, is_on: bool, every_s: float = 5.0) -> Generator[None]:
    """Touch the run's heartbeat file until the block ends.

    Args:
        folder: The run's folder.
        is_on: Whether to do anything: only where time is billed does it matter when a worker was killed.
        every_s: Seconds between two touches, and so the error of `last_heartbeat`.
    """
    if not is_on:
        yield
        return

    def touch() -> None:
        with contextlib.suppress(OSError):  # whatever writes next reports a full disk
            (folder / HEARTBEAT).touch()

    touch()
    with repeating(touch, every_s=every_s, name="heartbeat"):
        yield


def last_heartbeat(folder: Path) -> float | None:
    """Return when a worker was last known to be alive, in seconds since the epoch; None if there is no record of it."""
    try:
        return (folder / HEARTBEAT).stat().st_mtime
    except OSError:
        return None
