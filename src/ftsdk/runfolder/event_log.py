"""The event log of a run: one JSON object a line, appended by one writer, read by anyone at any time."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ftsdk.protocol import Event, read_event

__all__ = ["EVENTS", "EventWriter", "parse_events"]

EVENTS = "events.jsonl"


def parse_events(content: bytes, *, first: int = 0) -> list[Event]:
    """Read the whole lines of a log; a last line that is still being written is left for the next time.

    Args:
        content: Bytes of the log, from the beginning of a line.
        first: Number of the first line.
    """
    end = content.rfind(b"\n") + 1
    return [read_event(line, seq=first + n) for n, line in enumerate(content[:end].splitlines())]


class EventWriter:
    """The one writer of a log, for any thread of its process. Whoever holds the run's lock may have one."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._path = folder / EVENTS
        self.events: list[Event] = []
        """What the log held when it was opened."""
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            # A line that a crash cut in half: nobody has read it, since readers stop at the last newline.
            with self._path.open("r+b") as file:
                file.truncate(whole)
        self.events = parse_events(content)
        self._next = len(self.events)
        self._file = self._path.open("ab", buffering=0)
        self._lock = threading.Lock()

    def append(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Append an event. It is on its way to disk when this returns, and on disk if it is a state or a checkpoint."""
        with self._lock:
            self._append(kind, fields)

    def _append(self, kind: str, fields: Mapping[str, Any]) -> None:
        line = {"kind": kind, "seq": self._next, "at": round(self._clock(), 3), **{k: v for k, v in fields.items() if v is not None}}
        start = self._file.tell()
        content = json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            written = self._file.write(content)
            if written != len(content):  # a full disk can take half a line
                raise OSError(28, "No space left on device", str(self._path))
        except OSError:
            self._file.truncate(start)
            raise
        self._next += 1
        if kind in ("state", "checkpoint"):
            os.fsync(self._file.fileno())

    def reread(self) -> list[Event]:
        """Give the events again, with those that another writer (rank 0 of several) has appended meanwhile."""
        self.events = parse_events(self._path.read_bytes())
        self._next = len(self.events)
        return self.events

    def close(self) -> None:
        """Close the file."""
        self._file.close()
