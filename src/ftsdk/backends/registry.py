"""Backends by name: entry points of the group `ftsdk.backends`, those of ftsdk and those of other packages alike."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from ftsdk._entry_points import forget_entry_points, installed
from ftsdk._secrets import redact
from ftsdk.errors import BackendError, MissingExtraError, SpecError
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
        BackendError: Its package is broken.
    """
    if name not in installed(GROUP):
        # A package may have been installed since this process first looked, as in a notebook.
        forget_entry_points()
    point = installed(GROUP).get(name)
    if point is None:
        if name.lower() in backend_names():
            raise SpecError(f"unknown backend {name!r}: write {name.lower()!r}, in lower case")
        raise SpecError(f"unknown backend {name!r}{nearest(name, set(backend_names()))}")
    try:
        factory = point.load()
    except ImportError as error:
        package = point.dist.name if point.dist else "ftsdk"
        raise MissingExtraError(name, needed_for=f"backend {name!r}", missing=error.name, package=package) from error
    except Exception as error:
        raise BackendError(
            f"backend {name!r} can't be loaded from {point.value!r} ({type(error).__name__}: {error}); update or "
            "uninstall the package that it comes from"
        ) from error
    try:
        return factory(**(options or {}))
    except TypeError as error:
        # Names only: a value may be a key.
        given = ", ".join(map(repr, options or {})) or "no options"
        raise SpecError(
            f"backend {name!r} can't be built with {given}: {redact(str(error))}{_options_of(factory)}"
        ) from error


def _options_of(factory: object) -> str:
    """Return the end of an error message: the options of a backend, as far as its signature names them."""
    try:
        names = list(signature(factory).parameters) if callable(factory) else []
    except (TypeError, ValueError):
        names = []
    return f"; its options: {', '.join(names)}" if names else "; it has no options"
