"""A run's history on this machine: what the service tells, doubled and out of order, written down once and in one order.

Beside `events.jsonl` lies `seen.jsonl`, whose line n names what event n was made of. Names are on disk before their events, so
after a crash there may be names without events, which are taken back, and never events without names.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ftsdk._files import replace_file
from ftsdk.backends.together.mapping import Entry
from ftsdk.protocol import TERMINAL, Event, StateEvent
from ftsdk.runfolder.event_log import EventWriter

__all__ = ["History", "end_of", "last_state"]

_SEEN = "seen.jsonl"


class History:
    """The writer of a history. Only whoever holds the folder's lock may have one.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._at = 0.0
        self._writer = EventWriter(folder, clock=lambda: self._at)
        self.events: list[Event] = list(self._writer.events)
        """What was told so far."""
        self._at = self.events[-1].at if self.events else 0.0
        self._names = folder / _SEEN
        names = [json.loads(line) for line in _whole_lines(self._names)][: len(self.events)]
        self._seen = set(names)
        content = "".join(f"{json.dumps(name)}\n" for name in names).encode()
        if not self._names.exists() or self._names.read_bytes() != content:
            replace_file(self._names, content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()

    @property
    def has_ended(self) -> bool:
        """True if the last word was said."""
        return end_of(self.events) is not None

    def has(self, key: str) -> bool:
        """True if that was told."""
        return key in self._seen

    def add(self, entries: Iterable[Entry]) -> None:
        """Write what wasn't told yet. Time never runs backwards: what comes late is told late."""
        fresh: dict[str, Entry] = {}
        for entry in entries:
            if entry.key not in self._seen:
                fresh.setdefault(entry.key, entry)
        self._append([(entry.key, entry.kind, entry.fields, entry.at) for entry in fresh.values()])

    def say(self, kind: str, fields: Mapping[str, Any], *, at: float | None = None, key: str | None = None) -> None:
        """Write an event of our own.

        Args:
            kind: Its kind.
            fields: Its fields.
            at: Seconds since the epoch; None: now.
            key: Its identity, if it must be told once only.
        """
        if key is not None and key in self._seen:
            return
        self._append([(key or f"own {len(self.events)}", kind, fields, time.time() if at is None else at)])

    def _append(self, lines: list[tuple[str, str, Mapping[str, Any], float]]) -> None:
        if not lines:
            return
        with self._names.open("ab") as file:
            file.write("".join(f"{json.dumps(key)}\n" for key, *_ in lines).encode())
            file.flush()
            os.fsync(file.fileno())
        for key, kind, fields, at in lines:
            self._at = max(self._at, round(at, 3))
            self._writer.append(kind, fields)
            self._seen.add(key)
        self.events = list(self._writer.reread())


def end_of(events: Iterable[Event]) -> StateEvent | None:
    """Give the event that ended the run, if it has ended."""
    for event in events:
        if isinstance(event, StateEvent) and event.state in TERMINAL:
            return event
    return None


def last_state(events: Iterable[Event]) -> StateEvent | None:
    """Give the state that was told last."""
    states = [event for event in events if isinstance(event, StateEvent)]
    return states[-1] if states else None


def _whole_lines(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1].splitlines()
