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
from ftsdk.errors import SpecError

__all__ = ["AnswerRecord", "AttemptRecord", "RecordLog", "Role", "read_records"]

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

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Name the folder; the file is made by the first line."""
        self._folder = folder / "records"
        self._clock = clock
        self._session = uuid.uuid4().hex[:8]
        self._day = -1
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
                assert self._file is not None
                while content:
                    content = content[os.write(self._file, content) :]
            except OSError:
                self.failures += 1
                return False
        return True

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _open(self, day: int) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        make_folder(self._folder)
        name = time.strftime("%Y%m%d", time.gmtime(day * 86_400))
        path = self._folder / f"{name}-{self._session}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
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
            if path.stat().st_mtime < since:
                continue
            with path.open("rb") as file:
                for text in file:
                    line = _read(text)
                    if line is not None:
                        yield line
        except OSError as error:
            raise SpecError(f"the records in {path} can't be read: {error.strerror or error}") from error


def _read(text: bytes) -> dict[str, Any] | None:
    try:
        line: Any = json.loads(text)
    except (ValueError, RecursionError):  # cut off by a crash
        return None
    return line if isinstance(line, dict) and isinstance(line.get("kind"), str) else None
