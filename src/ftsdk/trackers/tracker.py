"""The `Tracker` protocol: five lines of wandb, MLflow or trackio that follow a run's events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from ftsdk._entry_points import installed
from ftsdk._secrets import has_url_secret, looks_like_key
from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.protocol import Event
from ftsdk.spec.base import nearest

__all__ = [
    "GROUP",
    "TrackedRun",
    "Tracker",
    "TrackerRequest",
    "check_trackers",
    "extras_of_trackers",
    "load_tracker",
    "name_of",
    "package_of_tracker",
]

GROUP = "ftsdk.trackers"
TrackerRequest: TypeAlias = str | Mapping[str, Any]
"""A tracker as JSON: the name of its entry point, or `{"name": ..., "options": {...}}`."""


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What a tracker learns of a run before its first event."""

    id: str
    """The run's id, such as `20261123-ab12cd`. A run that is resumed has the same one: append to what is there."""
    spec: Mapping[str, Any]
    """The job's specification, as JSON."""
    training: Mapping[str, Any]
    """The trainer's request, as JSON; empty for a managed service."""
    is_replay: bool = False
    """Whether the whole history follows, from its first event on, as `Run.log_to` sends it."""


@runtime_checkable
class Tracker(Protocol):
    """Receives a run's events, one after the other, after each is in the run's own log.

    Built without arguments, or with those in its `options`, if it has that property: they are kept with the run, so
    keys and passwords come from the environment instead. Whatever it raises becomes one warning among the run's events,
    and the tracker is left out from then on; training continues. All calls come from one thread, which isn't the one
    that trains.
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


def check_trackers(trackers: Sequence[TrackerRequest | Tracker]) -> tuple[TrackerRequest, ...]:
    """Return trackers as they are written down: by name, and with their options if they have any. Imports none.

    Args:
        trackers: Names of entry points, objects of the classes registered there, or what this function returned.

    Raises:
        SpecError: One isn't installed, is named twice, or has options that can't be kept.
    """
    if isinstance(trackers, str):
        raise SpecError(f"trackers should be a list, with brackets around it: [{trackers!r}]")
    found = tuple(map(_request_of, trackers))
    names = [name_of(one) for one in found]
    if len(set(names)) < len(names):
        raise SpecError(f"trackers={names!r} names one of them twice")
    return found


def name_of(request: TrackerRequest) -> str:
    """Return the name of a tracker's entry point."""
    return request if isinstance(request, str) else str(request["name"])


def package_of_tracker(name: str) -> str:
    """Return the distribution that brings a tracker."""
    point = installed(GROUP).get(name)
    return point.dist.name if point is not None and point.dist is not None else "ftsdk"


def extras_of_trackers(trackers: Sequence[TrackerRequest]) -> tuple[str, ...]:
    """Return the extras of ftsdk that trackers need: each built-in one has an extra of its name."""
    return tuple(name_of(one) for one in trackers if package_of_tracker(name_of(one)) == "ftsdk")


def load_tracker(request: TrackerRequest | Tracker) -> Tracker:
    """Build a tracker by the name of its entry point, with its options.

    Raises:
        SpecError: It isn't installed, or doesn't take these options.
        MissingExtraError: A package that it needs isn't installed.
    """
    (checked,) = check_trackers((request,))
    name, options = name_of(checked), {} if isinstance(checked, str) else checked["options"]
    try:
        made = installed(GROUP)[name].load()
    except ImportError as error:
        raise missing_package(name, error) from error
    try:
        return made(**options)
    except TypeError as error:
        raise SpecError(f"tracker {name!r} doesn't take the options {sorted(options)}: {error}") from error


def missing_package(name: str, error: ImportError) -> MissingExtraError:
    """Return the error of a tracker whose library isn't installed."""
    return MissingExtraError(name, needed_for=f"tracker {name!r}", missing=error.name, package=package_of_tracker(name))


def _request_of(tracker: TrackerRequest | Tracker) -> TrackerRequest:
    if isinstance(tracker, str):
        name, options = tracker, {}
    elif isinstance(tracker, Mapping):
        name, options = str(tracker.get("name")), dict(tracker.get("options") or {})
    else:
        name, options = _named(tracker), dict(getattr(tracker, "options", {}))
    known = installed(GROUP)
    if name not in known:
        listed = (
            " `ftsdk doctor` shows whose packages are installed."
            if known
            else f" No package with an entry point in the group {GROUP!r} is installed."
        )
        raise SpecError(f"unknown tracker {name!r}{nearest(name, set(known))}.{listed}")
    try:
        kept = cast("dict[str, Any]", json.loads(json.dumps(options)))
    except (TypeError, ValueError) as error:
        raise SpecError(f"the options of tracker {name!r} can't be written as JSON: {error}") from error
    for key, value in kept.items():
        if isinstance(value, str) and (looks_like_key(value) or has_url_secret(value)):
            # Not shown: it may be one.
            raise SpecError(
                f"the option {key!r} of tracker {name!r} looks like a key or holds a password, and options are kept "
                "with the run; set it in the environment"
            )
    return {"name": name, "options": kept} if kept else name


def _named(tracker: object) -> str:
    """Return the entry point of an object's class: its `name`, or the one that leads to the class."""
    given = getattr(tracker, "name", None)
    if isinstance(given, str):
        return given
    kind = type(tracker)
    path = f"{kind.__module__}:{kind.__qualname__}"
    found = next((name for name, point in installed(GROUP).items() if point.value == path), None)
    if found is None:
        raise SpecError(
            f"{kind.__qualname__} isn't registered as a tracker: give its package an entry point in the group {GROUP!r}"
        )
    return found
