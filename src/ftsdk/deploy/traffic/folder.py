"""`TrafficFolder`: keeps prompts and answers, scrubbed, for the next round of training."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ftsdk._files import is_in_use, make_folder
from ftsdk.data.traffic import FORMAT
from ftsdk.deploy.drift.measures import message_text
from ftsdk.spec.amounts import check_amount

if TYPE_CHECKING:
    from ftsdk.data.privacy import Kind
    from ftsdk.deploy.router.records import AnswerRecord

__all__ = ["TrafficFolder"]

_log = logging.getLogger(__name__)


class TrafficFolder:
    """Keeps the prompts and answers of a router in a folder that `Dataset.from_traffic` reads.

        >>> Router(tuned, observers=[TrafficFolder("traffic/")])

    What looks like personal data or a credential is replaced by a placeholder before anything is written; names in
    texts aren't found. Files are readable by their owner only. When the folder is full, the oldest file goes. That
    something can't be kept never fails a request: it is logged once, and counted in `failures`.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        max_mb: float = 1_000,
        shard_mb: float = 16,
        kinds: Iterable[Kind] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Name the folder; it is made with the first answer.

        Args:
            folder: Several routers may share it.
            max_mb: The most that is kept, in MB; the oldest files are removed first.
            shard_mb: When a new file is begun, in MB.
            kinds: What is scrubbed; all that ftsdk knows if not given. It can't be turned off.
            clock: Seconds since the epoch.

        Raises:
            SpecError: A number is out of range.
        """
        from ftsdk.data.privacy.find import ALL_KINDS

        check_amount("max_mb", max_mb, above=0)
        check_amount("shard_mb", shard_mb, above=0, at_most=max_mb)
        self._folder = Path(folder)
        self._most_bytes = int(max_mb * 1e6)
        self._shard_bytes = int(shard_mb * 1e6)
        self._kinds = ALL_KINDS if kinds is None else tuple(kinds)
        self._clock = clock
        self._lock = threading.Lock()
        self._file: int | None = None
        self._size = 0
        self.kept = 0
        """Answers that were written."""
        self.failures = 0
        """Answers and verdicts that couldn't be written."""
        self.scrubbed: dict[str, int] = {}
        """How many values of each kind were replaced."""

    def answered(self, record: AnswerRecord, *, messages: Sequence[Mapping[str, Any]], answer: str | None) -> None:
        """Keep an answer; a router calls this. One that failed, or that has anything but text in it, isn't kept."""
        if record.outcome != "answered" or answer is None or not _is_text(messages):
            return
        texts = self._scrubbed([*map(message_text, messages), answer])
        self.kept += self._append(
            {
                "kind": "answer",
                "id": record.id,
                "at": record.at,
                "route": record.route,
                "arm": record.arm,
                "role": record.role,
                "version": record.version,
                "model": record.response_model or record.request_model,
                "slice": record.slice,
                "accepted": record.accepted,
                "accepted_by": record.accepted_by,
                "messages": [
                    {"role": str(message["role"]), "content": text}
                    for message, text in zip(messages, texts, strict=False)
                ],
                "answer": texts[-1],
            }
        )

    def feedback(self, id: str, *, accepted: bool, corrected: str | None = None) -> None:  # noqa: A002
        """Keep a user's verdict, and the answer that would have been right."""
        text = None if corrected is None else self._scrubbed([corrected])[0]
        self._append({"kind": "feedback", "id": id, "at": self._clock(), "accepted": accepted, "corrected": text})

    def close(self) -> None:
        """Close the file; another answer would begin a new one."""
        with self._lock:
            self._close()

    def _scrubbed(self, texts: list[str]) -> list[str]:
        from ftsdk.data.privacy.scrub import scrub

        found = scrub(texts, self._kinds, rows=[0] * len(texts))
        for kind, count in found.counts.items():
            self.scrubbed[kind] = self.scrubbed.get(kind, 0) + count
        return found.texts

    def _append(self, line: Mapping[str, Any]) -> bool:
        content = json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                if self._file is None or self._size + len(content) > self._shard_bytes:
                    self._open()
                self._write(content)
            except OSError as error:
                self.failures += 1
                if self.failures == 1:
                    _log.warning("traffic can't be kept in %s: %s", self._folder, error.strerror or error)
                return False
        return True

    def _write(self, content: bytes) -> None:
        assert self._file is not None
        try:
            rest = content
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            # Take back the part that was written, or leave the file: what follows would stand on the same line.
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                self._close()
            raise
        self._size += len(content)

    def _open(self) -> None:
        self._close()
        make_folder(self._folder)
        self._make_room()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._clock()))
        # Each start has files of its own, so that nothing is appended to a line that a crash cut off.
        path = self._folder / f"traffic-{stamp}-{time.monotonic_ns():020d}-{uuid.uuid4().hex[:8]}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self._size = 0
        self._write(json.dumps({"kind": "shard", "format": FORMAT}).encode() + b"\n")

    def _make_room(self) -> None:
        """Remove the oldest files until a new one fits; those that a router is writing stay."""
        shards = [(path, path.stat().st_size) for path in sorted(self._folder.glob("traffic-*.jsonl"))]
        total = sum(size for _, size in shards)
        for path, size in shards:
            if total + self._shard_bytes <= self._most_bytes:
                return
            if not is_in_use(path):
                path.unlink(missing_ok=True)
                total -= size

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _is_text(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether all messages are text: tool calls and pictures can't be scrubbed."""
    return all(
        isinstance(message.get("content"), str)
        or (
            isinstance(message.get("content"), list)
            and all(
                isinstance(part, dict) and part.get("type") == "text" for part in cast("list[Any]", message["content"])
            )
        )
        for message in messages
        if not message.get("tool_calls")
    ) and not any(message.get("tool_calls") for message in messages)
