"""Trackers of runs at a managed service: they follow the local copy of its events, where it is kept up to date."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import weakref
from collections.abc import Sequence

from ftsdk._files import replace_file
from ftsdk.backends.managed.run_state import RunFolder
from ftsdk.protocol import TERMINAL, LogEvent, StateEvent
from ftsdk.runfolder import lock
from ftsdk.trackers import Sinks, TrackedRun, TrackerRequest

__all__ = ["MirroredTracking"]

_SENT = "sent.json"


class MirroredTracking:
    """Sends what is new in a run's local history to its trackers, from whichever process follows the run.

    How far they are is written down, and one process at a time sends.

    Args:
        requests: The trackers, as `check_trackers` returns them.
    """

    def __init__(self, requests: Sequence[TrackerRequest]) -> None:
        self._requests = tuple(requests)
        self._sinks: dict[str, Sinks] = {}
        self._warnings: list[str] = []

    def send(self, folder: RunFolder) -> None:
        """Send the events that no process has sent yet. Never raises for a tracker's sake."""
        if not self._requests:
            return
        where = folder.path / "trackers"
        with contextlib.suppress(OSError):
            where.mkdir(exist_ok=True)
            descriptor = lock.acquire(where, patience_s=0)
            if descriptor is None:
                return
            try:
                self._send(folder)
            finally:
                os.close(descriptor)
        self._write_warnings(folder)

    def _send(self, folder: RunFolder) -> None:
        sent = folder.path / "trackers" / _SENT
        try:
            last = int(json.loads(sent.read_bytes())["seq"])
        except (OSError, ValueError, KeyError, TypeError):
            last = -1
        events = folder.events(after=last)
        if not events:
            return
        sinks = self._sinks.get(folder.key)
        if sinks is None:
            spec = folder.submission().get("spec", {})
            sinks = Sinks(self._requests, TrackedRun(id=folder.key, spec=spec, training={}), self._warnings.append)
            self._sinks[folder.key] = sinks
            _close_at_exit(sinks)
        is_over = False
        for event in events:
            sinks(event)
            is_over = is_over or (isinstance(event, StateEvent) and event.state in TERMINAL)
        replace_file(sent, json.dumps({"seq": events[-1].seq}).encode())
        if is_over:
            self._sinks.pop(folder.key).close()

    def _write_warnings(self, folder: RunFolder) -> None:
        """Add what went wrong to the history. After its last event nothing may follow, and then nobody is told."""
        while self._warnings:
            sentence = self._warnings.pop(0)
            with folder.held(patience_s=0.2) as is_mine:
                if is_mine:
                    with folder.mirror() as mirror:
                        if not mirror.has_ended:
                            mirror.append(LogEvent(level="warning", message=sentence))


def _close_at_exit(sinks: Sinks) -> None:
    """Let trackers flush when the process that follows a run ends before the run does."""
    known = weakref.ref(sinks)

    def close() -> None:
        alive = known()
        if alive is not None:
            alive.close()

    atexit.register(close)
