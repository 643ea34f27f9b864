"""From a name to a backend, by the entry points of the group `ftsdk.backends`: those of ftsdk and those of other packages alike."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.protocol import Backend
from ftsdk.spec.base import nearest

__all__ = ["GROUP", "backend_names", "forget_entry_points", "get_backend"]

GROUP = "ftsdk.backends"


def _entry_points() -> dict[str, EntryPoint]:
    return _entry_points_on(tuple(sys.path))


@lru_cache(maxsize=4)
def _entry_points_on(path: tuple[str, ...]) -> dict[str, EntryPoint]:
    # Cached for each path: this reads the metadata of every installed package, which takes tens of milliseconds.
    del path
    return {point.name: point for point in entry_points(group=GROUP)}


def forget_entry_points() -> None:
    """Look for installed backends again at the next call, for a process that has installed or removed a package."""
    _entry_points_on.cache_clear()


def backend_names() -> tuple[str, ...]:
    """Return the names of the installed backends, sorted, without importing any of them."""
    return tuple(sorted(_entry_points()))


def get_backend(name: str, options: Mapping[str, Any] | None = None) -> Backend:
    """Build a backend by name.

    Args:
        name: The name of an entry point in the group `ftsdk.backends`.
        options: Its keyword arguments.

    Raises:
        SpecError: There is no such backend, or it refuses the options.
        MissingExtraError: Its package isn't installed.
    """
    if name not in _entry_points():
        # A package may have been installed since this process first looked, as in a notebook.
        forget_entry_points()
    point = _entry_points().get(name)
    if point is None:
        raise SpecError(f"unknown backend {name!r}{nearest(name, set(backend_names()))}. Pass one of these names, or a backend object")
    try:
        factory = point.load()
    except ImportError as error:
        package = point.dist.name if point.dist else "ftsdk"
        raise MissingExtraError(name, needed_for=f"backend {name!r}", missing=error.name, package=package) from error
    try:
        return factory(**(options or {}))
    except TypeError as error:
        raise SpecError(f"backend {name!r} can't be built with {dict(options or {})!r}: {error}") from error
