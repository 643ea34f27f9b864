"""The `Tracker` protocol: five lines of wandb, MLflow or trackio that follow a run's events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ftsdk._entry_points import installed
from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.protocol import Event
from ftsdk.spec.base import nearest

__all__ = ["GROUP", "TrackedRun", "Tracker", "check_trackers", "load_tracker", "package_of_tracker"]

GROUP = "ftsdk.trackers"


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What a tracker learns of a run before its first event."""

    id: str
    """The run's id, such as `20261123-ab12cd`. A run that is resumed has the same one: append to what is there."""
    spec: Mapping[str, Any]
    """The job's specification, as JSON."""
    training: Mapping[str, Any]
    """The trainer's request, as JSON."""


class Tracker(Protocol):
    """Receives a run's events in the worker, one after the other, after each is in the run's own log.

    Built without arguments: keys and addresses come from the environment. Whatever it raises becomes one warning among
    the run's events, and the tracker is left out from then on; training continues.
    """

    def start(self, run: TrackedRun) -> None:
        """Prepare for events. Called once in each process that writes them."""
        ...

    def log(self, event: Event) -> None:
        """Take an event."""
        ...

    def end(self) -> None:
        """Flush: the process will write no more events."""
        ...


def check_trackers(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names, if each is installed, without importing any.

    Raises:
        SpecError: One isn't, or is named twice.
    """
    known = installed(GROUP)
    for name in names:
        if name not in known:
            listed = (
                f" Installed: {', '.join(sorted(known))}."
                if known
                else f" No package with an entry point in the group {GROUP!r} is installed."
            )
            raise SpecError(f"unknown tracker {name!r}{nearest(name, set(known))}.{listed}")
    if len(set(names)) < len(names):
        raise SpecError(f"trackers={names!r} names one of them twice")
    return names


def package_of_tracker(name: str) -> str:
    """Return the distribution that brings a tracker."""
    point = installed(GROUP).get(name)
    return point.dist.name if point is not None and point.dist is not None else "ftsdk"


def load_tracker(name: str) -> Tracker:
    """Build a tracker by the name of its entry point.

    Raises:
        SpecError: It isn't installed.
        MissingExtraError: A package that it needs isn't installed.
    """
    check_trackers((name,))
    point = installed(GROUP)[name]
    try:
        return point.load()()
    except ImportError as error:
        raise MissingExtraError(
            name, needed_for=f"tracker {name!r}", missing=error.name, package=package_of_tracker(name)
        ) from error
