"""Where runs are kept: a folder that all nodes see, or an object store. The client and the nodes use the same code."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from ftsdk._files import is_run_id, replacing
from ftsdk.backends.hosted.launcher import RunFiles
from ftsdk.backends.hosted.run_end import record_end_in
from ftsdk.backends.launchers.kept.address import is_address
from ftsdk.backends.launchers.kept.store import Store
from ftsdk.backends.launchers.local import LocalFiles
from ftsdk.backends.launchers.recorded_end import RECORDED_END, recorded_end, with_recorded_end
from ftsdk.errors import BackendError, RunNotFoundError
from ftsdk.protocol import StateEvent
from ftsdk.runfolder import lock
from ftsdk.runfolder.event_log import EVENTS
from ftsdk.runfolder.manifest import MANIFEST

__all__ = ["BEAT", "BEAT_S", "KeptRun", "SharedFolder", "StoredRun", "kept_run"]

BEAT = "beat"
"""A file in the store that a node writes while it works."""
BEAT_S = 10.0
"""Seconds between two beats."""
_SILENCE_S = 60.0
"""Seconds without a beat after which a node is taken for dead: Ray's own workers end as long after their head."""


class KeptRun(RunFiles, Protocol):
    """The files of one run, and what can be told of its worker by them alone."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def has_worker(self) -> bool:
        """Return whether a worker is at work, as far as the files say, when Ray doesn't know."""
        ...

    def record_end(self, end: StateEvent) -> bool:
        """Append the last event of a run without a worker. A run that has an end keeps it. False: it has a worker."""
        ...


def kept_run(storage: str, run_id: str) -> SharedFolder | StoredRun:
    """Return the files of a run, whether it exists or not.

    Raises:
        RunNotFoundError: That can't be the name of a run.
        MissingExtraError: The package for such a storage isn't installed.
    """
    if not is_run_id(run_id):
        raise RunNotFoundError(f"there is no run {run_id!r}: that can't be the name of its folder")
    if is_address(storage):
        return StoredRun(Store(f"{storage.rstrip('/')}/runs/{run_id}"))
    return SharedFolder(Path(storage) / "runs" / run_id)


class SharedFolder(LocalFiles):
    """A folder that the client and all nodes see: the worker works in it."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.folder / name).unlink(missing_ok=True)

    def has_worker(self) -> bool:
        """Return whether a worker holds the folder's lock."""
        return lock.is_held(self.folder)

    def record_end(self, end: StateEvent) -> bool:
        """Append the run's last event under the folder's lock."""
        return record_end_in(self.folder, end)


class StoredRun:
    """The run's part of an object store, to which the node that works on it sends copies.

    Args:
        store: The objects below the run's name.
        clock: Seconds since the epoch.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self._clock = clock

    def read(self, name: str, *, start: int = 0) -> bytes | None:
        """Return the bytes from `start` on, or None if there is no such file."""
        recorded = self.store.read(RECORDED_END) if name == EVENTS else None
        if recorded is None:
            return self.store.read(name, start=start)
        return with_recorded_end(self.store.read(name) or b"", recorded)[start:]

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        self.store.write(name, content)

    def put(self, sources: Mapping[str, Path]) -> None:
        """Upload files, by name, except those that are there already with the same size."""
        there = self.store.sizes()
        for name, path in sources.items():
            if there.get(name) != path.stat().st_size:
                self.store.upload(path, name)

    def age_s(self, name: str) -> float | None:
        """Return the seconds since the file was written, or None if there is no such file."""
        written_at = self.store.modified_at(name)
        return None if written_at is None else max(0.0, self._clock() - written_at)

    def fetch(self, folder: str, into: Path) -> None:
        """Download a folder, its manifest last."""
        into.mkdir(parents=True, exist_ok=True)
        (into / MANIFEST).unlink(missing_ok=True)
        for name in sorted(self.store.sizes(folder), key=lambda n: (n == MANIFEST, n)):
            target = into / name
            if not target.resolve().is_relative_to(into.resolve()):
                raise BackendError(f"the storage has a file with an unsafe name: {name[:200]!r}")
            with replacing(target) as draft:
                self.store.download(f"{folder}/{name}", draft)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        self.store.remove(name)

    def has_worker(self) -> bool:
        """Return whether a node has sent a beat within the last minute."""
        age_s = self.age_s(BEAT)
        return age_s is not None and age_s < _SILENCE_S

    def record_end(self, end: StateEvent) -> bool:
        """Keep the run's last event beside its log, which a dying worker may still overwrite."""
        content = recorded_end(self.store.read(EVENTS) or b"", end, at=self._clock())
        if content is not None and self.store.read(RECORDED_END) is None:
            self.store.write(RECORDED_END, content)
        return True

    def beat(self) -> None:
        """Tell others that a node is at work. A beat that is lost doesn't matter."""
        with contextlib.suppress(Exception):
            self.store.write(BEAT, f"{self._clock():.3f} {os.getpid()}".encode())
