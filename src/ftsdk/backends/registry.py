"""Backends by name: entry points of the group `ftsdk.backends`, those of ftsdk and those of other packages alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk._entry_points import forget_entry_points, installed
from ftsdk._secrets import redact
from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.protocol import Backend
from ftsdk.spec.base import nearest

__all__ = ["GROUP", "backend_names", "forget_entry_points", "get_backend"]

GROUP = "ftsdk.backends"


def backend_names() -> tuple[str, ...]:
    """Return the names of the installed backends, sorted, without importing any of them."""
    return tuple(sorted(installed(GROUP)))


def get_backend(name: str, options: Mapping[str, Any] | None = None) -> Backend:
    """Build a backend by name.

    Args:
        name: The name of an entry point in the group `ftsdk.backends`.
        options: Its keyword arguments.

    Raises:
        SpecError: There is no such backend, or it refuses the options.
        MissingExtraError: Its package isn't installed.
    """
    if name not in installed(GROUP):
        # A package may have been installed since this process first looked, as in a notebook.
        forget_entry_points()
    point = installed(GROUP).get(name)
    if point is None:
        raise SpecError(
            f"unknown backend {name!r}{nearest(name, set(backend_names()))}. Pass one of these names, or a backend "
            "object"
        )
    try:
        factory = point.load()
    except ImportError as error:
        package = point.dist.name if point.dist else "ftsdk"
        raise MissingExtraError(name, needed_for=f"backend {name!r}", missing=error.name, package=package) from error
    try:
        return factory(**(options or {}))
    except TypeError as error:
        # Names only: a value may be a key.
        given = ", ".join(map(repr, options or {})) or "no options"
        raise SpecError(f"backend {name!r} can't be built with {given}: {redact(str(error))}") from error
