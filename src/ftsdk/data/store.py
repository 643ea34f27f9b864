"""The content-addressed store.

Each dataset once, under the hash of its rows, so that a run finds exactly the rows that its spec names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk._files import replace_file
from ftsdk._home import home
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.dataset import Dataset
from ftsdk.data.json_text import json_lines
from ftsdk.data.sources import Source
from ftsdk.data.table import table_of
from ftsdk.errors import DatasetError
from ftsdk.spec import DataFormat, DatasetRef

__all__ = ["Store"]


class Store:
    """A folder of `<fingerprint>.jsonl` files. Any number of processes may use it at once."""

    def __init__(self, root: Path | None = None) -> None:
        """Name the folder, which is created when rows are put into it. None: `data` in ftsdk's home."""
        self.root = home() / "data" if root is None else root

    def put(self, dataset: Dataset) -> Path:
        """Store the rows, unless they are in the store, and return their file.

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
        """Return the file of a dataset, after checking that its content has the hash in its name.

        Raises:
            DatasetError: It isn't in the store, or it was altered.
        """
        path = self._path(fingerprint)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise DatasetError(
                f"the store holds no rows with the fingerprint {fingerprint}.",
                source=str(self.root),
                hint="Store them again with Store().put(dataset), or point FTSDK_HOME at the folder where they are.",
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
            DatasetError: They aren't in the store, or they were altered.
        """
        return self.open(ref.fingerprint, format=ref.format, name=ref.name)

    def open(
        self,
        fingerprint: str,
        *,
        format: DataFormat,  # noqa: A002
        name: str = "data",
        lineage: tuple[Mapping[str, Any], ...] | None = None,
    ) -> Dataset:
        """Read rows by fingerprint.

        Args:
            fingerprint: What `Dataset.fingerprint` returned.
            format: What the rows are.
            name: Display name.
            lineage: Where the rows came from, if their recipe says so.

        Raises:
            DatasetError: They aren't in the store, were altered, or have another format.
        """
        path = self.get(fingerprint)
        bad = BadRows()
        table = table_of(json_lines(path.read_text(encoding="utf-8"), path.name, bad), source=path.name, bad=bad)
        return Dataset(table, Source(name=name, lineage=lineage), format=format)

    def _path(self, fingerprint: str) -> Path:
        return self.root / f"{fingerprint}.jsonl"
