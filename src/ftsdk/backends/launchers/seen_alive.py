"""Jobs that were alive just now, so that a place isn't asked again for every look at a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["SeenAlive"]


class _Job(Protocol):
    @property
    def is_alive(self) -> bool: ...


_J = TypeVar("_J", bound=_Job)


class SeenAlive(Generic[_J]):
    """The job of each run that was alive when its place was last asked; an end is never remembered.

    Args:
        for_s: Seconds for which an answer is used again.
        clock: Seconds; only differences count.
    """

    def __init__(self, *, for_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._for_s = for_s
        self._clock = clock
        self._jobs: dict[str, tuple[float, _J]] = {}

    def look(self, run_id: str, ask: Callable[[], _J | None], *, is_fresh: bool = False) -> _J | None:
        """Return a run's job, or None.

        Args:
            run_id: The run.
            ask: Asks the place.
            is_fresh: Ask even if it was asked just now.
        """
        seen = self._jobs.get(run_id)
        if seen is not None and not is_fresh and self._clock() < seen[0] + self._for_s:
            return seen[1]
        job = ask()
        if job is not None and job.is_alive:
            self._jobs[run_id] = (self._clock(), job)
        else:
            self.forget(run_id)
        return job

    def forget(self, run_id: str) -> None:
        """Ask the next time."""
        self._jobs.pop(run_id, None)
