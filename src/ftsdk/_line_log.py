"""A file of JSON lines, each appended as it comes, by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ftsdk._files import make_folder
from ftsdk._format import printable
from ftsdk.errors import DatasetError

__all__ = ["LineLog"]

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Some network file systems have none: two processes are the user's own care there."""


class LineLog:
    """A file of JSON lines, readable by its owner only.

    Any number of threads may append. Lines that a crash cut off are skipped.
    """

    def __init__(self, path: Path, *, busy: str, busy_hint: str, hint: str) -> None:
        """Name the file; nothing is read or written yet.

        Args:
            path: The file.
            busy: What is wrong if another process is appending to it.
            busy_hint: What to do then.
            hint: What to do if the file can't be written.
        """
        self._path = path
        self._busy = busy
        self._busy_hint = busy_hint
        self._hint = hint
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Open the file; see `open`."""
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Open the file, for this process alone, until `close`.

        Raises:
            DatasetError: It can't be written, or another process is using it.
        """
        try:
            make_folder(self._path.parent)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._lock_file(self._descriptor)
        except BlockingIOError as error:
            self.close()
            raise DatasetError(self._busy, source=printable(str(self._path)), hint=self._busy_hint) from error
        except OSError as error:
            self.close()
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Let other processes use the file; lines that come later are dropped."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def lines(self) -> Iterator[Any]:
        """Yield the values of all lines that are JSON; none if there is no file."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return
        for text in content.split(b"\n"):
            try:
                yield json.loads(text)
            except (ValueError, RecursionError):
                continue  # empty, or cut off by a crash

    def append(self, line: Mapping[str, Any], *, sync: bool = True) -> None:
        """Append a line, so that it is still there after a crash.

        Args:
            line: JSON values; others become text.
            sync: Keep it through a power cut, too, which takes some milliseconds.

        Raises:
            DatasetError: The disk is full.
        """
        # The first line break ends a line that a crash cut off.
        content = f"\n{json.dumps(line, default=str)}\n".encode()
        with self._lock:
            descriptor = self._descriptor
            if descriptor is None:  # the caller was interrupted
                return
            try:
                while content:
                    content = content[os.write(descriptor, content) :]
                if sync:
                    os.fsync(descriptor)
            except OSError as error:
                raise self._unwritable(error) from error

    def _lock_file(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise

    def _unwritable(self, error: OSError) -> DatasetError:
        return DatasetError(
            f"answers can't be kept: {error.strerror or error}.",
            source=printable(str(self._path)),
            hint=self._hint,
        )
