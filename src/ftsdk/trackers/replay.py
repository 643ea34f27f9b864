"""A whole history for a tracker, after the fact."""

from __future__ import annotations

from collections.abc import Iterable

from ftsdk._secrets import redact
from ftsdk.errors import FtsdkError
from ftsdk.protocol import Event
from ftsdk.trackers.tracker import (
    TrackedRun,
    Tracker,
    TrackerRequest,
    check_trackers,
    load_tracker,
    missing_package,
    name_of,
)

__all__ = ["replay"]


def replay(tracker: TrackerRequest | Tracker, run: TrackedRun, events: Iterable[Event]) -> int:
    """Send a history to a tracker, and return how many events that were.

    Raises:
        SpecError: There is no such tracker.
        MissingExtraError: A package that it needs isn't installed.
        FtsdkError: The tracker failed.
    """
    name, made, count = name_of(check_trackers((tracker,))[0]), load_tracker(tracker), 0
    try:
        made.start(run)
        try:
            for event in events:
                made.log(event)
                count += 1
        finally:
            made.end()
    except FtsdkError:
        raise
    except ImportError as error:
        raise missing_package(name, error) from error
    except Exception as error:
        said = redact(f"{type(error).__name__}: {error}")[:300]
        raise FtsdkError(
            f"tracker {name!r} failed at event {count} of run {run.id} ({said}). The run and its own log are not "
            "affected; check the tracker's settings in the environment, and send the history again"
        ) from error
    return count
