"""Three trackers: one that keeps everything, one that fails early, and one that fails when all is over."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ftsdk.protocol import Event
from ftsdk.trackers import TrackedRun


class MagpieTracker:
    """Keeps each event as a line in a file of the run's name."""

    def start(self, run: TrackedRun) -> None:
        """Open the run's file, after what an earlier attempt wrote."""
        self._file = (Path(os.environ["MAGPIE_NEST"]) / run.id).open("a")

    def log(self, event: Event) -> None:
        """Keep the event."""
        self._file.write(json.dumps(event.to_dict()) + "\n")

    def end(self) -> None:
        """Close the file."""
        self._file.close()


class MoodyTracker:
    """Takes two events and no more."""

    def start(self, run: TrackedRun) -> None:
        """Count from here."""
        del run
        self._left = 2

    def log(self, event: Event) -> None:
        """Fail at the third event."""
        del event
        self._left -= 1
        if self._left < 0:
            raise ConnectionError("no answer from https://key@example.com")

    def end(self) -> None:
        """Nothing to flush."""


class SulkyTracker:
    """Fails at the last event, and at the end."""

    def start(self, run: TrackedRun) -> None:
        """Nothing to open."""

    def log(self, event: Event) -> None:
        """Fail once the run has succeeded."""
        if event.kind == "state" and event.state == "succeeded":
            raise ConnectionError

    def end(self) -> None:
        """Fail again."""
        raise ConnectionError


class LateTracker(SulkyTracker):
    """Fails at the end only."""

    def log(self, event: Event) -> None:
        """Take everything."""
