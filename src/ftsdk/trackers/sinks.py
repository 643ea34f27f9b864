"""A run's events on their way to its trackers; whatever goes wrong there stays there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ftsdk.protocol import Event
from ftsdk.trackers.tracker import TrackedRun, Tracker, load_tracker

__all__ = ["Sinks"]


class Sinks:
    """The trackers of one run in one process.

    Args:
        names: Their entry points.
        run: Passed to each tracker before the first event.
        warn: Takes a sentence about a tracker that failed; the tracker is left out from then on.
    """

    def __init__(self, names: Sequence[str], run: TrackedRun, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._trackers: dict[str, Tracker] = {}
        for name in names:
            try:
                tracker = load_tracker(name)
                tracker.start(run)
            except Exception as error:  # noqa: BLE001 - a tracker must not stop a run
                self._failed(name, "start", error)
            else:
                self._trackers[name] = tracker

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.log(event)
            except Exception as error:  # noqa: BLE001 - a tracker must not stop a run
                del self._trackers[name]
                self._failed(name, f"take the event {event.seq}", error)

    def close(self) -> None:
        """Let the trackers flush."""
        for name, tracker in self._trackers.items():
            try:
                tracker.end()
            except Exception as error:  # noqa: BLE001 - a tracker must not stop a run
                self._failed(name, "end", error)
        self._trackers.clear()

    def _failed(self, name: str, doing: str, error: Exception) -> None:
        # The kind of error only: its text may hold a key or an address with one.
        self._warn(
            f"tracker {name!r} could not {doing} ({type(error).__name__}) and is left out; the run and its own log are "
            "not affected"
        )
