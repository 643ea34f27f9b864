"""A run's events on their way to its trackers; whatever goes wrong there stays there."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

from ftsdk.protocol import Event
from ftsdk.trackers.tracker import TrackedRun, TrackerRequest, load_tracker, missing_package, name_of

__all__ = ["Sinks"]

_WAITING = 20_000
"""Events that a tracker may be behind."""
_PATIENCE_S = 0.2
"""How long an event may hold up the training."""
_ALLOWANCE_S = 2.0
"""How long all events of a process may, before they are only queued."""
_END_S = 30.0
"""How long trackers may take to flush."""


class Sinks:
    """The trackers of one run in one process, each in a thread of its own.

    A tracker that is quick gets each event before training goes on; one that is slow, or hangs, holds it up for two
    seconds altogether, and follows in its own time.

    Args:
        requests: The trackers, as `check_trackers` returns them.
        run: Passed to each tracker before the first event.
        warn: Takes a sentence about a tracker that failed, which is left out from then on. Called from any thread.
        end_s: Seconds that the trackers have to flush, all together.
    """

    def __init__(
        self,
        requests: Sequence[TrackerRequest],
        run: TrackedRun,
        warn: Callable[[str], None],
        *,
        end_s: float = _END_S,
    ) -> None:
        self._warn, self._end_s = warn, end_s
        self._threads = [_Sink(request, run, self._failed) for request in requests]

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        for sink in list(self._threads):
            if not sink.take(event):
                self._threads.remove(sink)

    def close(self) -> None:
        """Let the trackers flush, for a limited time."""
        for sink in self._threads:
            sink.finish()
        deadline = time.monotonic() + self._end_s
        for sink in self._threads:
            if not sink.wait(max(0.0, deadline - time.monotonic())):
                self._failed(sink.name, f"take all events within {self._end_s:.0f} s of the end", None)
        self._threads.clear()

    def _failed(self, name: str, doing: str, error: BaseException | None) -> None:
        # The kind of error only: its text may hold a key or an address with one.
        why = "" if error is None else f" ({type(error).__name__})"
        remedy = "Run.log_to() sends the whole history again"
        if isinstance(error, ImportError):
            remedy = f"{missing_package(name, error)}, and {remedy}"
        self._warn(f"tracker {name!r} could not {doing}{why} and is left out; the run and its log go on; {remedy}")


class _Sink:
    """One tracker and its thread."""

    def __init__(
        self, request: TrackerRequest, run: TrackedRun, failed: Callable[[str, str, BaseException | None], None]
    ) -> None:
        self.name = name_of(request)
        self._request, self._run, self._failed = request, run, failed
        self._waiting: queue.Queue[Event | None] = queue.Queue(_WAITING)
        self._allowance_s = _ALLOWANCE_S
        self._is_over = threading.Event()
        self._is_idle = threading.Condition()
        self._left = 0
        # A daemon: a tracker that hangs must not keep the process alive.
        threading.Thread(target=self._follow, name=f"tracker {self.name}", daemon=True).start()

    def take(self, event: Event) -> bool:
        """Queue an event, and wait a little for the tracker to have it. False: the tracker is left out."""
        if self._is_over.is_set():
            return False
        with self._is_idle:
            self._left += 1
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._is_over.set()
            self._failed(self.name, f"keep up: it is {_WAITING:,} events behind", None)
            return False
        if self._allowance_s > 0:
            began = time.monotonic()
            with self._is_idle:
                self._is_idle.wait_for(lambda: self._left == 0, timeout=min(_PATIENCE_S, self._allowance_s))
            self._allowance_s -= time.monotonic() - began
        return True

    def finish(self) -> None:
        """Ask for the end."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            self._is_over.set()

    def wait(self, seconds: float) -> bool:
        """Return whether the tracker ended in time, well or not."""
        return self._is_over.wait(seconds)

    def _follow(self) -> None:
        doing = "start"
        try:
            tracker = load_tracker(self._request)
            tracker.start(self._run)
            while (event := self._waiting.get()) is not None and not self._is_over.is_set():
                doing = f"take the event {event.seq}"
                tracker.log(event)
                self._note_taken()
            doing = "end"
            tracker.end()
        except BaseException as error:  # noqa: BLE001 - a tracker must not stop a run
            if not self._is_over.is_set():
                self._failed(self.name, doing, error)
        finally:
            self._is_over.set()
            with self._is_idle:
                self._left = 0
                self._is_idle.notify_all()

    def _note_taken(self) -> None:
        with self._is_idle:
            self._left -= 1
            self._is_idle.notify_all()
