"""The worker's log as events, for launchers whose log can't be read while the run is in progress."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

from ftsdk.backends.hosted.background import repeating
from ftsdk.protocol import LogEvent
from ftsdk.runfolder.event_log import EventWriter

__all__ = ["LOG", "lines_as_events"]

LOG = "worker.log"
_MAX_LINES = 500
"""Per attempt, so that a loop of warnings doesn't bury the history of the run."""
_MAX_CHARACTERS = 2000


@contextlib.contextmanager
def lines_as_events(folder: Path, log: EventWriter | None, *, is_on: bool, poll_s: float = 1.0) -> Generator[None]:
    """Append the new lines of the run's log to its events until the block ends.

    The process that started the worker writes the log; only this process writes the events.

    Args:
        folder: The run's folder.
        log: The writer of the events; None in a process that doesn't write them.
        is_on: Whether to do anything: on this machine the log is a file that anyone can read.
        poll_s: Seconds between two reads of the log.
    """
    if log is None or not is_on:
        yield
        return
    reader = _Reader(folder / LOG, log)
    try:
        with repeating(reader.read, every_s=poll_s, name="log-lines"):
            yield
    finally:
        reader.read()


class _Reader:
    def __init__(self, path: Path, log: EventWriter) -> None:
        self._path = path
        self._log = log
        self._at = path.stat().st_size if path.exists() else 0
        self._lines = 0

    def read(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                new = file.read()
        except OSError:
            return  # the run doesn't depend on its log
        whole = new[: new.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.decode("utf-8", "replace").split("\n"):
            # Of a line that was overwritten, such as a progress bar, the last version counts.
            text = line.rpartition("\r")[2].strip()[:_MAX_CHARACTERS]
            if not text or self._lines > _MAX_LINES:
                continue
            self._lines += 1
            if self._lines > _MAX_LINES:
                text = f"the log has more lines; see {LOG}"
            with contextlib.suppress(OSError):
                self._log.append(LogEvent(message=text))
