"""Answers of a model on disk, each appended as it comes, so that no request is paid for twice."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ftsdk._files import make_folder
from ftsdk._format import printable
from ftsdk._home import home
from ftsdk.errors import DatasetError

__all__ = ["AnswerLog", "KeptAnswer", "default_log_path"]

_MOST_TOKENS = 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptAnswer:
    """An answer of a model."""

    text: str
    is_cut: bool
    """Whether it ended at the limit of its tokens."""
    input_tokens: int | None
    output_tokens: int | None
    on: str
    """The day on which it came, in UTC: `2026-11-27`."""


def default_log_path(identity: str) -> Path:
    """Return the file for the answers of a model, in the home of ftsdk."""
    return home() / "answers" / f"{identity[:32]}.jsonl"


class AnswerLog:
    """A file of answers by the keys of their requests. It holds no prompts, and is readable by its owner only."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is read or written yet."""
        self._path = path
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Open the file, for this process alone.

        Raises:
            DatasetError: It can't be written, or another process is using it.
        """
        try:
            make_folder(self._path.parent)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._close()
            raise DatasetError(
                "another process is asking the same model, and would be paid for the same answers.",
                source=printable(str(self._path)),
                hint="Wait until it has finished, or pass answers= with another file.",
            ) from error
        except OSError as error:
            self._close()
            raise self._unwritable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def read(self) -> dict[str, KeptAnswer]:
        """Return the answers so far by the keys of their requests. Lines that a crash cut off are skipped."""
        found: dict[str, KeptAnswer] = {}
        try:
            content = self._path.read_bytes()
        except OSError:
            return found
        for text in content.split(b"\n"):
            try:
                line: Any = json.loads(text)
                found[str(line["key"])] = KeptAnswer(
                    text=_text(line["text"]),
                    is_cut=line["is_cut"] is True,
                    input_tokens=_count(line["input_tokens"]),
                    output_tokens=_count(line["output_tokens"]),
                    on=_text(line["on"])[:10],
                )
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        return found

    def append(self, key: str, answer: KeptAnswer) -> None:
        """Keep an answer, so that it is still there after a crash or a power cut.

        Raises:
            DatasetError: The disk is full.
        """
        line = {"key": key, **asdict(answer)}
        # The first line break ends a line that a crash cut off.
        content = f"\n{json.dumps(line)}\n".encode()
        with self._lock:
            descriptor = self._descriptor
            if descriptor is None:  # the caller was interrupted
                return
            try:
                while content:
                    content = content[os.write(descriptor, content) :]
                os.fsync(descriptor)
            except OSError as error:
                raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> DatasetError:
        return DatasetError(
            f"answers can't be kept: {error.strerror or error}.",
            source=printable(str(self._path)),
            hint="Pass answers= with a file that can be written to.",
        )

    def _close(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None
