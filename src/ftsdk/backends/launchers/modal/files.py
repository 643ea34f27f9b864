"""The files of one run on a Volume, as they are at one moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ftsdk.backends.launchers.modal.volume import Entry, Volume
from ftsdk.backends.launchers.recorded_end import RECORDED_END, with_recorded_end
from ftsdk.runfolder.event_log import EVENTS
from ftsdk.runfolder.manifest import MANIFEST

__all__ = ["VolumeFiles"]

Cache = dict[str, tuple[Entry, bytes]]
"""Contents that were read before, with size and time: files that haven't changed aren't read again."""
_COMMIT_WAIT_S = 10.0
"""How long a commit may lack what was written before the newest that it has."""


class VolumeFiles:
    """A view of a run's folder.

    The folder is listed when it is first needed, and again after something was written through this view. Modal's
    client reads whole files only, so only files whose size or time has changed are read: if nothing has changed, a poll
    of the run costs one request.

    Args:
        volume: The Volume with all runs.
        folder: On the Volume.
        cache: Of the run; shared by its views.
        clock: Seconds since the epoch.
        sleep: Wait for so many seconds.
    """

    def __init__(
        self,
        volume: Volume,
        folder: str,
        cache: Cache,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._volume = volume
        self._sleep = sleep
        self._folder = folder
        self._cache = cache
        self._clock = clock
        self._listing: dict[str, Entry] | None = None

    def read(self, name: str, *, start: int = 0) -> bytes | None:
        """Return the bytes from `start` on, or None if there is no such file."""
        content = self._read(name)
        if name == EVENTS:
            recorded = self._read(RECORDED_END)
            if recorded is not None:
                content = with_recorded_end(content or b"", recorded)
        return None if content is None else content[start:]

    def read_log(self) -> bytes:
        """Return the event log as the worker wrote it, without an end recorded by a client."""
        return self._read(EVENTS) or b""

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        self._changed(name)
        self._volume.upload({f"{self._folder}/{name}": content})

    def write_new(self, name: str, content: bytes) -> bool:
        """Write a small file unless it exists. Of two clients that try at once, one gets True."""
        self._changed(name)
        return self._volume.upload({f"{self._folder}/{name}": content}, overwrite=False)

    def put(self, sources: Mapping[str, Path]) -> None:
        """Upload the files that don't exist there with the same size."""
        there = self._volume.list_files(self._folder, recursive=True) or {}
        missing = {
            name: path for name, path in sources.items() if name not in there or there[name].size != path.stat().st_size
        }
        if missing:
            self._changed(*missing)
            self._volume.upload({f"{self._folder}/{name}": path for name, path in missing.items()})

    def age_s(self, name: str) -> float | None:
        """Return the whole seconds since the file was written, or None if there is no such file."""
        entry = self._entry(name)
        return None if entry is None else max(0.0, self._clock() - entry.mtime)

    def fetch(self, folder: str, into: Path) -> None:
        """Download a folder, its manifest last.

        A Volume is committed while the worker writes: the log can be there with its end, and the weights that were
        written before it not yet. So a folder without a manifest is listed again for some seconds.
        """
        into.mkdir(parents=True, exist_ok=True)
        (into / MANIFEST).unlink(missing_ok=True)
        deadline = self._clock() + _COMMIT_WAIT_S
        while True:
            names = self._volume.list_files(f"{self._folder}/{folder}", recursive=True) or {}
            if MANIFEST in names or self._clock() >= deadline:
                break
            self._sleep(0.5)
        for name in sorted(names, key=lambda n: (n == MANIFEST, n)):
            target = into / name
            if target.resolve().is_relative_to(into.resolve()):
                target.parent.mkdir(parents=True, exist_ok=True)
                self._volume.download(f"{self._folder}/{folder}/{name}", target)

    def _read(self, name: str) -> bytes | None:
        entry = self._entry(name)
        if entry is None:
            return None
        known = self._cache.get(name)
        if known is not None and known[0] == entry:
            return known[1]
        content = self._volume.read(f"{self._folder}/{name}")
        if content is not None and len(content) >= entry.size:
            self._cache[name] = (entry, content)
        return content

    def _entry(self, name: str) -> Entry | None:
        if self._listing is None:
            self._listing = self._volume.list_files(self._folder) or {}
        return self._listing.get(name)

    def _changed(self, *names: str) -> None:
        self._listing = None
        for name in names:
            self._cache.pop(name, None)
