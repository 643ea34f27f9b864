"""A run's history on this machine: the service's events, repeated and out of order, written down once and in one order.

Beside `events.jsonl` lies `seen.jsonl`, whose line n names what event n was made of. Names are on disk before their
events. After a crash there may be names without events, which are dropped, and never events without names.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ftsdk._files import replace_file
from ftsdk.protocol import TERMINAL, StateEvent, read_event
from ftsdk.runfolder.event_log import EVENTS, EventIndex, EventWriter

__all__ = ["Entry", "EventMirror", "read_log"]

_SEEN = "seen.jsonl"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event of ours, and the identity of what it was made of, so that it is written once."""

    key: str
    at: float
    """Seconds since the epoch, UTC."""
    kind: Literal["step", "eval", "checkpoint", "log"]
    fields: Mapping[str, Any]


def read_log(folder: Path, *, start: int) -> bytes | None:
    """Return a run's event log from a byte offset on; None if there is none."""
    try:
        with (folder / EVENTS).open("rb") as file:
            file.seek(start)
            return file.read()
    except FileNotFoundError:
        return None


class EventMirror:
    """The writer of a history. Its process must hold the folder's lock.

    Opening it reads names and states but parses no other event; the log is opened for writing when there is something
    to write.

    Args:
        folder: The run's folder.
        index: Of the folder's log; None makes one.
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
        self._names = folder / _SEEN
        self._seen = self._read_names()

    def _read_names(self) -> set[str]:
        """Read the names, and drop those whose events a crash has lost."""
        content = self._names.read_bytes() if self._names.exists() else b""
        lines = content.split(b"\n")[:-1][: self._count]
        whole = b"".join(line + b"\n" for line in lines)
        if whole != content or not self._names.exists():
            replace_file(self._names, whole)
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
        """Write the entries that are new. Time never goes back: a late entry gets the time of the one before it."""
        fresh: dict[str, Entry] = {}
        for entry in entries:
            if entry.key not in self._seen:
                fresh.setdefault(entry.key, entry)
        self._append([(entry.key, entry.kind, entry.fields, entry.at) for entry in fresh.values()])

    def append(
        self,
        kind: Literal["state", "log"],
        fields: Mapping[str, Any],
        *,
        at: float | None = None,
        key: str | None = None,
    ) -> None:
        """Write an event of our own.

        Args:
            kind: Its kind.
            fields: Its fields.
            at: Seconds since the epoch; None: now.
            key: Its identity, if it must be written once only.
        """
        if key is not None and key in self._seen:
            return
        self._append([(key or f"own {self._count}", kind, fields, time.time() if at is None else at)])

    def _append(self, lines: list[tuple[str, str, Mapping[str, Any], float]]) -> None:
        if not lines:
            return
        with self._names.open("ab") as file:
            file.write("".join(f"{json.dumps(key)}\n" for key, *_ in lines).encode())
            file.flush()
            os.fsync(file.fileno())
        if self._writer is None:
            self._writer = EventWriter(self._folder, clock=lambda: self._at)
        for key, kind, fields, at in lines:
            self._at = max(self._at, round(at, 3))
            self._writer.append(kind, fields)
            if kind == "state":
                self.last_state = StateEvent(seq=self._count, at=self._at, **fields)
            self._count += 1
            self._seen.add(key)
