"""From a name to a backend. Built-ins and strangers come in by the same door: entry points of the group `ftsdk.backends`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.protocol import Backend
from ftsdk.spec.base import nearest

__all__ = ["backend_names", "get_backend"]

GROUP = "ftsdk.backends"


def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def backend_names() -> tuple[str, ...]:
    """List the installed backends by name, without importing any of them."""
    return tuple(sorted(_found()))


def get_backend(name: str, options: Mapping[str, Any] | None = None) -> Backend:
    """Build a backend by name.

    Args:
        name: The name of an entry point in the group `ftsdk.backends`.
        options: Its keyword arguments.

    Raises:
        SpecError: No such backend, or options that it refuses.
        MissingExtraError: Its package isn't installed.
    """
    points = _found()
    point = points.get(name)
    if point is None:
        raise SpecError(f"unknown backend {name!r}{nearest(name, set(points))}. Pass one of these names, or a backend object")
    try:
        factory = point.load()
    except ImportError as error:
        package = point.dist.name if point.dist else "ftsdk"
        raise MissingExtraError(name, needed_for=f"backend {name!r}", missing=error.name, package=package) from error
    try:
        return factory(**(options or {}))
    except TypeError as error:
        raise SpecError(f"backend {name!r} can't be built with {dict(options or {})!r}: {error}") from error
