"""The files of one run on another machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk._files import replacing
from ftsdk.backends.launchers.remote.channel import Channel
from ftsdk.backends.launchers.remote.frames import PART
from ftsdk.errors import BackendError
from ftsdk.runfolder.manifest import MANIFEST

__all__ = ["RemoteFiles"]


class RemoteFiles:
    """A view of a run's folder.

    Args:
        channel: To the machine.
        run_id: The run.
    """

    def __init__(self, channel: Channel, run_id: str) -> None:
        self._channel, self._run_id = channel, run_id

    def read(self, name: str, *, start: int = 0) -> bytes | None:
        """Return the bytes from `start` on, or None if there is no such file."""
        content: Any = self._call("read", name=name, start=start)
        return content if isinstance(content, bytes) else None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        self._call("write", content, name=name)

    def put(self, sources: Mapping[str, Path]) -> None:
        """Upload files, by name, except those that are there already with the same size."""
        there: Any = self._call("list", name=".")
        for name, path in sources.items():
            if there.get(name) != path.stat().st_size:
                self._put(name, path)

    def _put(self, name: str, path: Path) -> None:
        with path.open("rb") as file:
            start, part = 0, file.read(PART)
            while True:
                following = file.read(PART)
                self._call("write_part", part, name=name, start=start, is_last=not following)
                if not following:
                    return
                start, part = start + len(part), following

    def age_s(self, name: str) -> float | None:
        """Return the seconds since the file was written, by the other machine's clock; None if there is none."""
        age: Any = self._call("age_s", name=name)
        return None if age is None else float(age)

    def fetch(self, folder: str, into: Path) -> None:
        """Download a folder, its manifest last."""
        into.mkdir(parents=True, exist_ok=True)
        (into / MANIFEST).unlink(missing_ok=True)
        sizes: Any = self._call("list", name=folder)
        for name in sorted(map(str, sizes), key=lambda n: (n == MANIFEST, n)):
            target = into / name
            if not target.resolve().is_relative_to(into.resolve()):
                raise BackendError(f"the other machine sent a file with an unsafe name: {name[:200]!r}")
            self._get(f"{folder}/{name}", target, int(sizes[name]))

    def _get(self, name: str, target: Path, size: int) -> None:
        with replacing(target) as draft, draft.open("wb") as file:
            start = 0
            while start < size:
                part: Any = self._call("read_part", name=name, start=start)
                if not part:
                    raise BackendError(f"{name} became shorter while it was downloaded; try again", retryable=True)
                file.write(part)
                start += len(part)

    def _call(self, call: str, content: bytes = b"", /, **arguments: Any) -> Any:
        return self._channel.call(call, content, run_id=self._run_id, **arguments)
