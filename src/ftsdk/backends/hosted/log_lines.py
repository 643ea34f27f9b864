"""The worker's log as events: for places whose log nobody can look at while the run goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from pathlib import Path

from ftsdk.runfolder.event_log import EventWriter

__all__ = ["LOG", "lines_as_events"]

LOG = "worker.log"
_MOST_LINES = 500
"""Of one attempt: a loop of warnings mustn't bury the history of the run."""
_MOST_CHARACTERS = 2000


@contextlib.contextmanager
def lines_as_events(folder: Path, log: EventWriter | None, *, is_on: bool, poll_s: float = 1.0) -> Generator[None]:
    """Inside the block, append what is new in the run's log to its events, line by line.

    Whoever started the worker writes the log; the events have one writer, which is this process.

    Args:
        folder: The run's.
        log: The writer of the events; None in a process that isn't it.
        is_on: False does nothing: on this machine the log is a file that anybody can read.
        poll_s: Seconds between two looks.
    """
    if log is None or not is_on:
        yield
        return
    reader = _Reader(folder / LOG, log)
    is_over = threading.Event()

    def follow() -> None:
        while not is_over.wait(poll_s):
            reader.read()

    thread = threading.Thread(target=follow, name="log-lines", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
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
            return  # a help, not the matter
        whole = new[: new.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.decode("utf-8", "replace").split("\n"):
            # What rewrites its own line, such as a progress bar, counts as it was last.
            text = line.rpartition("\r")[2].strip()[:_MOST_CHARACTERS]
            if not text or self._lines > _MOST_LINES:
                continue
            self._lines += 1
            if self._lines > _MOST_LINES:
                text = f"more lines are in {LOG} only"
            with contextlib.suppress(OSError):
                self._log.append("log", {"message": text})
