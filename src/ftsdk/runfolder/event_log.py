"""The event log of a run: one JSON object per line, appended by one writer, readable by any process at any time."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ftsdk.protocol import CheckpointEvent, Event, StateEvent, read_event

__all__ = ["EVENTS", "EventIndex", "EventWriter", "parse_events"]

EVENTS = "events.jsonl"
_NEWLINE = re.compile(rb"\n")
_STATE_LINE = re.compile(rb'"kind"\s*:\s*"state"')
"""Finds the lines that may hold a state event, without parsing the others."""


def parse_events(content: bytes, *, first: int = 0) -> list[Event]:
    """Parse the complete lines of a log. A last line without a newline is still being written, and is left out.

    Args:
        content: Bytes of the log, from the start of a line.
        first: Number of the first line.
    """
    return [read_event(line, seq=first + n) for n, line in enumerate(content.split(b"\n")[:-1])]


class _ReadFrom(Protocol):
    def __call__(self, *, start: int) -> bytes | None: ...


class _ReadEvent(Protocol):
    def __call__(self, line: bytes, *, seq: int) -> Event: ...


class EventIndex:
    """Where the lines of a growing log start, and its state events, so that each look parses only what is new.

    Safe to use from several threads. A log that was rewritten since the last look is detected, and indexed again.

    Args:
        parse: Turns one line into an event.
    """

    def __init__(self, *, parse: _ReadEvent = read_event) -> None:
        self._parse = parse
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._starts = array("Q")
        """Offset of each complete line."""
        self._end = 0
        """Offset behind the last complete line."""
        self._last_line = b""
        """Read again at each look: if it differs, the log was rewritten."""
        self._states: list[StateEvent] = []

    def states(self, read: _ReadFrom) -> list[StateEvent]:
        """Return the state events up to now, in order.

        Args:
            read: Returns the log from a byte offset on, or None if there is no log yet.
        """
        with self._lock:
            self._update(read, first=len(self._starts))
            return list(self._states)

    def events(self, read: _ReadFrom, *, after: int = -1) -> list[Event] | None:
        """Return the events up to now that have a `seq` over `after`, in order; None if there is no log yet.

        Args:
            read: Returns the log from a byte offset on, or None if there is no log yet.
            after: The `seq` of the last event that the caller has.
        """
        with self._lock:
            first = max(after + 1, 0)
            found = self._update(read, first=first)
            if found is None:
                return None
            content, base = found
            if first >= len(self._starts):
                return []
            lines = content[self._starts[first] - base :].split(b"\n")[:-1]
            events = [self._parse(line, seq=first + n) for n, line in enumerate(lines)]
        return [event for event in events if event.seq > after]

    def _update(self, read: _ReadFrom, *, first: int) -> tuple[bytes, int] | None:
        """Index what is new. Return the complete lines from at latest line `first` on, and their offset in the log."""
        base = self._starts[min(first, len(self._starts) - 1)] if self._starts else 0
        content = read(start=base)
        if self._starts and (content is None or content[self._starts[-1] - base : self._end - base] != self._last_line):
            self._forget()
            base, content = 0, read(start=0)
        if content is None:
            return None
        content = content[: content.rfind(b"\n") + 1]
        self._index(content, base)
        return content, base

    def _index(self, content: bytes, base: int) -> None:
        ends = [newline.end() for newline in _NEWLINE.finditer(content, self._end - base)]
        if not ends:
            return
        starts = [self._end - base, *ends[:-1]]
        parsed = -1
        for found in _STATE_LINE.finditer(content, starts[0]):
            line = bisect_right(starts, found.start()) - 1
            if line != parsed:
                event = self._parse(content[starts[line] : ends[line]], seq=len(self._starts) + line)
                self._states += [event] if isinstance(event, StateEvent) else []
                parsed = line
        self._starts.extend(base + start for start in starts)
        self._end = base + ends[-1]
        self._last_line = content[starts[-1] :]


class EventWriter:
    """The only writer of a log, for any thread of its process. The process must hold the run's lock."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._path = folder / EVENTS
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            # A line that a crash cut in half. No reader has seen it, since readers stop at the last newline.
            with self._path.open("r+b") as file:
                file.truncate(whole)
        self._content = content[:whole]
        self._next = self._content.count(b"\n")
        self._file = self._path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self.listeners: list[Callable[[Event], None]] = []
        """Called with each event, typed, after it is in the log. They mustn't raise."""

    @cached_property
    def events(self) -> list[Event]:
        """The events that the log held when it was opened or last reread, parsed when first asked for."""
        return parse_events(self._content)

    def append(self, event: Event) -> None:
        """Append an event. It gets the next `seq`, and the time of now unless its `at` is set.

        States and checkpoints are on disk when this returns; other events are with the operating system.

        Raises:
            OSError: The disk is full; the log ends where it ended before.
        """
        with self._lock:
            written = self._append(event)
        for listener in self.listeners:
            listener(written)

    def _append(self, event: Event) -> Event:
        at = event.at if "at" in event.model_fields_set else round(self._clock(), 3)
        line = {"kind": event.kind, **event.to_dict(), "seq": self._next, "at": at}
        start = self._file.tell()
        content = json.dumps(line, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
        try:
            written = self._file.write(content)
            if written != len(content):  # a full disk can take half a line
                raise OSError(28, "No space left on device", str(self._path))
        except OSError:
            self._file.truncate(start)
            raise
        event = event.replace(seq=self._next, at=at)
        self._next += 1
        if isinstance(event, StateEvent | CheckpointEvent):
            os.fsync(self._file.fileno())
        return event

    def reread(self) -> list[Event]:
        """Return the events again, with those that another writer (rank 0 of several) has appended meanwhile."""
        self.events = parse_events(self._path.read_bytes())
        self._next = len(self.events)
        return self.events

    def close(self) -> None:
        """Close the file."""
        self._file.close()
