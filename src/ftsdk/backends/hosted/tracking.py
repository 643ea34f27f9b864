"""Trackers in the worker: they get each event that is written to the event log."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Generator
from pathlib import Path

from ftsdk.protocol import TERMINAL, Event, LogEvent, StateEvent
from ftsdk.runfolder.event_log import EventWriter
from ftsdk.trackers import Sinks, TrackedRun

__all__ = ["tracked"]


@contextlib.contextmanager
def tracked(folder: Path, log: EventWriter) -> Generator[None]:
    """Send the events that are appended to the log in this block to the trackers that the run's request names."""
    try:
        request = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        request = {}
    names = request.get("trackers", ())
    if not names:
        yield
        return

    def warn(sentence: str) -> None:
        # No event may follow a run's last one, and the disk may be full: then the warning goes to the worker's log.
        if not is_over:
            with contextlib.suppress(OSError):
                log.append(LogEvent(level="warning", message=sentence))
                return
        sys.stderr.write(f"{sentence}\n")

    def note_end(event: Event) -> None:
        nonlocal is_over
        is_over = is_over or (isinstance(event, StateEvent) and event.state in TERMINAL)

    is_over = False
    log.listeners.append(note_end)
    sinks = Sinks(
        names, TrackedRun(id=folder.name, spec=request.get("spec", {}), training=request.get("training", {})), warn
    )
    log.listeners.append(sinks)
    try:
        yield
    finally:
        log.listeners.remove(sinks)
        sinks.close()
        log.listeners.remove(note_end)
