"""From a name to a scorer or a metric: those defined in this process, then the entry points of installed packages."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Generic, TypeVar

from ftsdk._entry_points import installed
from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.spec.base import nearest

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Scorers or metrics by name."""

    def __init__(self, *, group: str, what: str) -> None:
        """Make an empty registry.

        Args:
            group: The entry point group that packages register in, such as `"ftsdk.scorers"`.
            what: The word for one entry, for messages.
        """
        self.group = group
        self.what = what
        self._defined: dict[str, tuple[str, T]] = {}

    def register(self, name: str, entry: T, *, origin: str) -> None:
        """Add an entry that was defined in this process.

        Args:
            name: The name that it is found by.
            entry: The scorer or metric.
            origin: Module and qualified name of the function. It may register again, as a notebook cell does.

        Raises:
            SpecError: Another function has registered the name.
        """
        if name in self._defined and self._defined[name][0] != origin:
            message = (
                f"the {self.what} {name!r} of {origin} is already defined by {self._defined[name][0]}; pass name= to "
                "the decorator"
            )
            raise SpecError(message)
        self._defined[name] = (origin, entry)

    def names(self) -> tuple[str, ...]:
        """Return all known names, without importing the packages behind them."""
        return tuple(sorted({*self._defined, *self._installed()}))

    def get(self, name: str) -> T:
        """Return the entry of that name.

        Raises:
            SpecError: No such entry.
            MissingExtraError: A package that it imports isn't installed.
        """
        if name in self._defined:
            return self._defined[name][1]
        point = self._installed().get(name)
        if point is None:
            known = self.names()
            hint = nearest(name, known)
            listed = f" Known: {', '.join(known)}." if "did you mean" in hint else ""
            raise SpecError(
                f"unknown {self.what} {name!r}{hint}{'' if hint.endswith('?') else '.'}{listed} "
                "Import the module that defines it, or install a package with an entry point in the group "
                f"{self.group!r}"
            )
        try:
            return point.load()
        except ImportError as error:
            package = point.dist.name if point.dist else "ftsdk"
            raise MissingExtraError(
                name, needed_for=f"{self.what} {name!r}", missing=error.name, package=package
            ) from error

    def _installed(self) -> dict[str, EntryPoint]:
        return dict(installed(self.group))
