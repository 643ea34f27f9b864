"""What a router keeps of each request: who answered, why, how fast and for how much; never a prompt or an answer."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ftsdk._files import make_folder
from ftsdk.deploy.router.record_lines import LONGEST_LINE, records_in
from ftsdk.errors import SpecError

__all__ = ["AnswerRecord", "AttemptRecord", "RecordLog", "Role", "read_last_records", "read_records"]

Role = Literal["tuned", "canary", "fallback", "shadow"]
"""Why a target was asked: as the champion, as the version on trial, because others failed, or for comparison only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRecord:
    """One target that was asked."""

    arm: str
    """The target's name."""
    role: Role
    model: str
    """The name of the model that was sent to the target."""
    outcome: Literal["answered", "rejected", "failed", "cancelled"]
    """`rejected`: an answer came that broke the contract."""
    error: str | None = None
    """A word such as `timeout`, `rate_limited` or `schema`; never the server's message."""
    duration_s: float
    first_token_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    """US dollars; None: the target has no price."""
    is_cost_bound: bool = False
    """Whether the cost is the most that it can be, because the server didn't report tokens."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return {name: getattr(self, name) for name in _ATTEMPT_FIELDS}


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRecord:
    """One request of a client, from its arrival to its end."""

    id: str
    """What feedback names."""
    at: float
    """When the request came, in seconds since the epoch."""
    route: str
    """The router's name."""
    arm: str | None
    """The target whose answer the client got, or the last one asked; None: none could be asked."""
    role: Role | None
    version: str | None
    """The version behind the arm: its name."""
    rollout: str
    """The rollout in force when the request came."""
    provider: str
    """For `gen_ai.provider.name`: the dialect that is spoken."""
    request_model: str
    """The model that the client asked for."""
    response_model: str | None
    """The model that the target says it is."""
    streamed: bool
    outcome: Literal["answered", "failed", "cancelled"]
    error: str | None
    fallback_reason: str | None
    """Why the first target's answer wasn't used; None: it was."""
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    duration_s: float
    first_token_s: float | None
    cost_usd: float | None
    """US dollars of all attempts together, without shadow copies; None: no price is known."""
    accepted: bool | None
    """What the contract says of the answer; None: there is nothing to judge it by."""
    accepted_by: str | None
    slice: str | None
    """A label from the program or the header `x-ftsdk-slice`."""
    attempts: tuple[AttemptRecord, ...]
    measures: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain data, as a line of the log has it."""
        found = {name: getattr(self, name) for name in _ANSWER_FIELDS}
        found["attempts"] = [attempt.to_dict() for attempt in self.attempts]
        return {"kind": "answer", **found}


_ATTEMPT_FIELDS = tuple(field.name for field in fields(AttemptRecord))
_ANSWER_FIELDS = tuple(field.name for field in fields(AnswerRecord))


class RecordLog:
    """A folder of JSON lines: a file for each day in UTC and each start of the router. Threads may append."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        on_written: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        """Name the folder; the file is made by the first line.

        Args:
            folder: The router's.
            clock: Seconds since the epoch.
            on_written: Called with each line that was written, before the next one.
        """
        self._folder = folder / "records"
        self._on_written = on_written
        self._is_torn = False
        self._sizes: dict[str, int] = {}
        self._clock = clock
        self._session = uuid.uuid4().hex[:8]
        self._day = -1
        self._name = ""
        self._file: int | None = None
        self._lock = threading.Lock()
        self.failures = 0
        """Lines that couldn't be written, because the disk is full, say."""

    def append(self, line: Mapping[str, Any]) -> bool:
        """Write a line, so that it survives the end of this process, and return whether that worked.

        A router that can't write its records goes on answering; `failures` counts.
        """
        content = json.dumps(line, separators=(",", ":"), default=str).encode() + b"\n"
        with self._lock:
            try:
                day = int(self._clock() // 86_400)
                if self._file is None or day != self._day:
                    self._open(day)
                self._write(content)
            except OSError:
                self.failures += 1
                return False
            if self._on_written is not None:
                self._on_written(line)
        return True

    def position(self, look: Callable[[Mapping[str, int]], bytes]) -> bytes:
        """Return what `look` makes of the size of each file that was written, while no line is being written."""
        with self._lock:
            return look(dict(self._sizes))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _write(self, content: bytes) -> None:
        assert self._file is not None
        rest = content = b"\n" * self._is_torn + content
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            # The next line must not stand behind the half of this one.
            self._is_torn = self._is_torn or len(rest) < len(content)
            raise
        self._is_torn = False
        self._sizes[self._name] = os.fstat(self._file).st_size

    def _open(self, day: int) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        make_folder(self._folder)
        self._name = f"{time.strftime('%Y%m%d', time.gmtime(day * 86_400))}-{self._session}.jsonl"
        path = self._folder / self._name
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._is_torn = False
        self._day = day


def read_records(folder: Path, *, since: float = 0.0) -> Iterator[dict[str, Any]]:
    """Yield the lines of a router's folder, day by day; what isn't a line of ours is skipped.

    Args:
        folder: The router's.
        since: Leave out files that were last written before this time, in seconds since the epoch.

    Raises:
        SpecError: A file can't be read.
    """
    for path in sorted((folder / "records").glob("*.jsonl")):
        try:
            if not path.is_file() or path.stat().st_mtime < since:
                continue
            with path.open("rb") as file:
                yield from records_in(file)
        except OSError as error:
            raise SpecError(f"the records in {path} can't be read: {error.strerror or error}") from error


def read_last_records(folder: Path, *, most_bytes: int) -> Iterator[dict[str, Any]]:
    """Yield the last lines of a router's folder, in the order of the files' last changes.

    Args:
        folder: The router's.
        most_bytes: How much is read at most.

    Raises:
        SpecError: A file can't be read.
    """
    files = [path for path in (folder / "records").glob("*.jsonl") if path.is_file()]
    starts: list[tuple[Path, int]] = []
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        if most_bytes <= 0:
            break
        size = path.stat().st_size
        starts.append((path, max(0, size - most_bytes)))
        most_bytes -= size
    for path, start in reversed(starts):
        try:
            with path.open("rb") as file:
                if start:
                    file.seek(start)
                    file.readline(LONGEST_LINE)  # the rest of one
                yield from records_in(file)
        except OSError as error:
            raise SpecError(f"the records in {path} can't be read: {error.strerror or error}") from error
