"""Follows the records of a router: each call reads only what is new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftsdk._format import printable
from ftsdk.deploy.router.record_lines import records_in
from ftsdk.errors import SpecError

__all__ = ["LogTail"]


class LogTail:
    """Reads the JSON lines below a router's folder, in the order of the files' names."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is read yet.

        Args:
            folder: The router's folder.
        """
        self._folder = folder
        self._offsets: dict[str, int] = {}

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines that were finished since the last call. What isn't JSON is skipped.

        Raises:
            SpecError: There is no such folder, or a file can't be read.
        """
        folder = self._folder / "records"
        if not self._folder.is_dir():
            raise SpecError(
                f"there is no router's folder {printable(str(self._folder), 400)}; name the folder= of the Router, or "
                "the router's name"
            )
        for path in sorted(folder.glob("*.jsonl")):
            offset = self._offsets.get(path.name, 0)
            try:
                if not path.is_file() or path.stat().st_size <= offset:
                    continue
                with path.open("rb") as file:
                    file.seek(offset)
                    yield from records_in(file)
                    offset = file.tell()
            except OSError as error:
                raise SpecError(f"the records in {path} can't be read: {error.strerror or error}") from error
            self._offsets[path.name] = offset
