"""What was found out about the last few datasets, by their fingerprints: a job is planned several times."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["LastResults"]

_Result = TypeVar("_Result")


class LastResults(Generic[_Result]):
    """The last results, each by a key that stands for all that it depends on. Holds no rows."""

    def __init__(self, most: int) -> None:
        """Keep so many; the oldest goes first."""
        self._most = most
        self._results: dict[Hashable, _Result] = {}

    def get(self, key: Hashable, make: Callable[[], _Result]) -> _Result:
        """Return the result for a key, and make it if it isn't known. An error is raised each time."""
        if key in self._results:
            return self._results[key]
        made = make()
        if len(self._results) >= self._most:
            self._results.pop(next(iter(self._results)), None)
        self._results[key] = made
        return made
