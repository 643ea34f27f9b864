"""The last event of a run, written by a client because the worker can't."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ftsdk.protocol import TERMINAL, StateEvent
from ftsdk.runfolder import lock
from ftsdk.runfolder.event_log import EventWriter

__all__ = ["record_end_in"]


def record_end_in(folder: Path, end: StateEvent) -> bool:
    """Append the run's last event under the folder's lock.

    Returns:
        False if a worker is running. A run that has an end keeps it.
    """
    held = lock.acquire(folder)
    if held is None:
        return False
    try:
        with contextlib.closing(EventWriter(folder)) as writer:
            last = writer.events[-1] if writer.events else None
            if not isinstance(last, StateEvent) or last.state not in TERMINAL:
                writer.append(end)
    finally:
        os.close(held)
    return True
