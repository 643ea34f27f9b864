"""The content-addressed store: each dataset once, under the hash of its rows, so that a run finds exactly the rows that its spec names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ftsdk._files import replace_file
from ftsdk._home import home
from ftsdk.data.canonical import ready_rows
from ftsdk.data.dataset import Dataset
from ftsdk.data.json_text import json_lines
from ftsdk.data.sources import Table
from ftsdk.errors import DatasetError
from ftsdk.spec import DataFormat, DatasetRef

__all__ = ["Store"]


class Store:
    """A folder of `<fingerprint>.jsonl` files. Any number of processes may use it at once."""

    def __init__(self, root: Path | None = None) -> None:
        """Name the folder; it is made when something is put into it. None: `data` in the home of ftsdk."""
        self.root = home() / "data" if root is None else root

    def put(self, dataset: Dataset) -> Path:
        """Store the rows, if they aren't there yet.

        Raises:
            DatasetError: The rows are still a table.
        """
        content = dataset.to_bytes()
        path = self._path(dataset.fingerprint)
        # A file of the right name and size is taken as it is: the content is checked whenever it is read.
        if path.is_file() and path.stat().st_size == len(content):
            return path
        replace_file(path, content)
        return path

    def get(self, fingerprint: str) -> Path:
        """Find the file of a dataset, and check that it holds what its name says.

        Raises:
            DatasetError: It isn't there, or it was altered.
        """
        path = self._path(fingerprint)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise DatasetError(
                f"the store holds no rows with the fingerprint {fingerprint}.",
                source=str(self.root),
                hint="Store them again with Store().put(dataset), or point FTSDK_HOME at the place where they are.",
            ) from error
        if found != fingerprint:
            raise DatasetError(
                f"the stored rows were altered: their hash is {found[:12]}..., not {fingerprint[:12]}...",
                source=str(path),
                hint="Delete the file, and store the rows again with Store().put(dataset).",
            )
        return path

    def load(self, ref: DatasetRef) -> Dataset:
        """Read the rows that a spec names.

        Raises:
            DatasetError: They aren't there, or they were altered.
        """
        return self.open(ref.fingerprint, format=ref.format, name=ref.name)

    def open(self, fingerprint: str, *, format: DataFormat, name: str = "data") -> Dataset:  # noqa: A002
        """Read rows by fingerprint.

        Raises:
            DatasetError: They aren't there, were altered, or have another format.
        """
        path = self.get(fingerprint)
        found = list(json_lines(path.read_text(encoding="utf-8"), path.name))
        table = Table(tuple(row for _, row in found), tuple(line for line, _ in found), tuple(found[0][1]))
        rows = ready_rows(table, format, None)
        return Dataset(table, name=name, source=None, origin=None, format=format, rows=rows)

    def _path(self, fingerprint: str) -> Path:
        return self.root / f"{fingerprint}.jsonl"
