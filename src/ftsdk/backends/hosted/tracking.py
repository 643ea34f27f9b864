"""Trackers in the worker: whatever is written to the event log goes to them, too."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Generator
from pathlib import Path

from ftsdk.protocol import TERMINAL, Event, StateEvent
from ftsdk.runfolder.event_log import EventWriter
from ftsdk.trackers import Sinks, TrackedRun

__all__ = ["tracked"]


@contextlib.contextmanager
def tracked(folder: Path, log: EventWriter) -> Generator[None]:
    """Pass what is appended to the log in this block on to the trackers that the run's request names."""
    try:
        request = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        request = {}
    names = request.get("trackers", ())
    if not names:
        yield
        return

    def warn(sentence: str) -> None:
        # After a run's last event nothing may follow, and a full disk is the run's own affair: then it is told to the
        # worker's log only.
        if not is_over:
            with contextlib.suppress(OSError):
                log.append("log", {"level": "warning", "message": sentence})
                return
        sys.stderr.write(f"{sentence}\n")

    def watch(event: Event) -> None:
        nonlocal is_over
        is_over = is_over or (isinstance(event, StateEvent) and event.state in TERMINAL)

    is_over = False
    log.listeners.append(watch)
    sinks = Sinks(
        names, TrackedRun(id=folder.name, spec=request.get("spec", {}), training=request.get("training", {})), warn
    )
    log.listeners.append(sinks)
    try:
        yield
    finally:
        log.listeners.remove(sinks)
        sinks.close()
        log.listeners.remove(watch)
