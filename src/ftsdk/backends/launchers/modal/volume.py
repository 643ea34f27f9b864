"""The Volume with the runs' files: listing, reading and writing."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.backends.launchers.modal.client import import_modal, modal_call, modal_client
from ftsdk.backends.launchers.modal.client_errors import first_line
from ftsdk.errors import BackendError

__all__ = ["Entry", "Volume"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file on a Volume."""

    size: int
    """Bytes."""
    mtime: int
    """Seconds since the epoch."""


class Volume:
    """A Volume of Modal, which is created by the first upload.

    Args:
        name: Its name.
        environment: Modal's environment; None means the one of the active profile.
    """

    def __init__(self, name: str, *, environment: str | None) -> None:
        self._name = name
        self._environment = environment
        self._found: Any = None

    def __str__(self) -> str:
        return f"Volume {self._name!r}"

    @modal_call("listing {folder} on {self}")
    def list_files(self, folder: str, *, recursive: bool = False) -> dict[str, Entry] | None:
        """Return the files in a folder by their names relative to it; None if there is no such folder, or no Volume."""
        modal = import_modal()
        try:
            entries = self._existing().listdir(folder, recursive=recursive)
        except (FileNotFoundError, modal.exception.NotFoundError):
            return None
        prefix = folder.strip("/") + "/"
        is_file = modal.types.FileEntryType.FILE
        files = [(entry.path.strip("/"), entry) for entry in entries if entry.type == is_file]
        return {path.removeprefix(prefix): Entry(size=entry.size, mtime=entry.mtime) for path, entry in files}

    @modal_call("reading {path} from {self}")
    def read(self, path: str) -> bytes | None:
        """Return the content of a file; None if it doesn't exist."""
        modal = import_modal()
        try:
            return b"".join(self._existing().read_file(path))
        except (FileNotFoundError, modal.exception.NotFoundError):
            return None

    @modal_call("downloading {path} from {self}", through=(OSError,))
    def download(self, path: str, target: Path) -> None:
        """Download a file.

        Raises:
            FileNotFoundError: It doesn't exist.
        """
        with target.open("wb") as file:
            for chunk in self._existing().read_file(path):
                file.write(chunk)

    @modal_call("writing files to {self}")
    def upload(self, files: Mapping[str, Path | bytes], *, overwrite: bool = True) -> bool:
        """Write files. Return False if one of them exists and `overwrite` is False.

        Modal transfers only blocks that it doesn't have.
        """
        modal = import_modal()
        try:
            with self._existing_or_new().batch_upload(force=overwrite) as batch:
                for path, content in files.items():
                    batch.put_file(
                        io.BytesIO(content) if isinstance(content, bytes) else str(content), f"/{path.strip('/')}"
                    )
        except FileExistsError:
            return False
        except modal.exception.ConflictError as error:
            # Files that are written again are the same, so trying again is safe.
            raise BackendError(f"the upload to {self} broke off ({first_line(error)})", retryable=True) from error
        return True

    def _existing(self) -> Any:
        if self._found is None:
            self._found = (
                import_modal()
                .Volume.from_name(self._name, environment_name=self._environment, client=modal_client())
                .hydrate()
            )
        return self._found

    def _existing_or_new(self) -> Any:
        modal = import_modal()
        try:
            return self._existing()
        except modal.exception.NotFoundError:
            # Version 2: any number of runs may write at once, where version 1 takes about five.
            self._found = modal.Volume.from_name(
                self._name, environment_name=self._environment, create_if_missing=True, version=2, client=modal_client()
            ).hydrate()
            return self._found
