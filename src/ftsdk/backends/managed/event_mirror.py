"""A local copy of a service's events: the service repeats and reorders them, the copy has each once and in one order.

Next to `events.jsonl` is `seen.jsonl`, whose line n is the key of event n. Keys are on disk before their events, so
after a crash there may be keys without events, which are dropped, but never events without keys.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ftsdk._files import replace_file
from ftsdk.protocol import TERMINAL, Event, LogEvent, StateEvent, read_event
from ftsdk.runfolder.event_log import EVENTS, EventIndex, EventWriter

__all__ = ["Entry", "EventMirror", "read_log"]

_SEEN = "seen.jsonl"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An event, and the identity of the service's event that it was made from, so that it is written once."""

    key: str
    event: Event
    """With its time in `at`."""


def read_log(folder: Path, *, start: int) -> bytes | None:
    """Return a run's event log from a byte offset on; None if there is none."""
    try:
        with (folder / EVENTS).open("rb") as file:
            file.seek(start)
            return file.read()
    except FileNotFoundError:
        return None


class EventMirror:
    """Writes the local copy. The process must hold the folder's lock.

    Opening it reads keys and state events and parses no others; the log is opened for writing when there is something
    to write.

    Args:
        folder: The run's folder.
        index: The index of the folder's log; None makes one.
    """

    def __init__(self, folder: Path, *, index: EventIndex | None = None) -> None:
        self._folder = folder
        self._writer: EventWriter | None = None
        content = read_log(folder, start=0) or b""
        content = content[: content.rfind(b"\n") + 1]
        self._count = content.count(b"\n")

        def read(*, start: int) -> bytes:
            return content[start:]

        states = (index or EventIndex()).states(read)
        self.last_state: StateEvent | None = states[-1] if states else None
        self._at = 0.0
        if self._count:
            last_line = content[content.rfind(b"\n", 0, -1) + 1 :]
            self._at = read_event(last_line, seq=self._count - 1).at
        self._keys = folder / _SEEN
        self._seen = self._read_keys()

    def _read_keys(self) -> set[str]:
        """Read the keys, and drop those whose events were lost in a crash."""
        content = self._keys.read_bytes() if self._keys.exists() else b""
        lines = content.split(b"\n")[:-1][: self._count]
        whole = b"".join(line + b"\n" for line in lines)
        if whole != content or not self._keys.exists():
            replace_file(self._keys, whole)
        return set(json.loads(b"[" + b",".join(lines) + b"]"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    @property
    def has_ended(self) -> bool:
        """Whether the terminal state is written."""
        return self.last_state is not None and self.last_state.state in TERMINAL

    @property
    def last_at(self) -> float | None:
        """When the last event happened, in seconds since the epoch; None if there is no event yet."""
        return self._at if self._count else None

    def has(self, key: str) -> bool:
        """Return whether an entry is written."""
        return key in self._seen

    def add(self, entries: Iterable[Entry]) -> None:
        """Write the entries that are new. Times never decrease: a late entry gets the time of the previous one."""
        fresh: dict[str, Entry] = {}
        for entry in entries:
            if entry.key not in self._seen:
                fresh.setdefault(entry.key, entry)
        self._append([(entry.key, entry.event) for entry in fresh.values()])

    def append(self, event: StateEvent | LogEvent, *, key: str | None = None) -> None:
        """Write an event that isn't the service's.

        Args:
            event: The event; if its `at` isn't set, it gets the current time.
            key: Its identity, if it must be written once only.
        """
        if key is not None and key in self._seen:
            return
        event = event if "at" in event.model_fields_set else event.replace(at=time.time())
        self._append([(key or f"own {self._count}", event)])

    def _append(self, events: list[tuple[str, Event]]) -> None:
        if not events:
            return
        with self._keys.open("ab") as file:
            file.write("".join(f"{json.dumps(key)}\n" for key, _ in events).encode())
            file.flush()
            os.fsync(file.fileno())
        if self._writer is None:
            self._writer = EventWriter(self._folder)
        for key, event in events:
            self._at = max(self._at, round(event.at, 3))
            written = event.replace(seq=self._count, at=self._at)
            self._writer.append(written)
            if isinstance(written, StateEvent):
                self.last_state = written
            self._count += 1
            self._seen.add(key)
