"""The content-addressed store.

Each dataset once, under the hash of its rows, so that a run finds exactly the rows that its spec names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk._files import replacing
from ftsdk._format import printable
from ftsdk._home import home
from ftsdk.data.dataset import Dataset
from ftsdk.data.message_rows import (
    BESIDE,
    SIDES,
    fingerprint_of,
    message_rows,
    open_message_rows,
    stored_rows,
    write_message_rows,
)
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.sources import Source
from ftsdk.data.table import table_of_messages
from ftsdk.errors import DatasetError
from ftsdk.spec import DataFormat, DatasetRef

__all__ = ["Store", "read_stored_rows"]


class Store:
    """A folder of `<fingerprint>.arrow` files. Any number of processes may use it at once."""

    def __init__(self, root: Path | None = None) -> None:
        """Name the folder, which is created when rows are put into it. None: `data` in ftsdk's home."""
        self.root = home() / "data" if root is None else root

    def put(self, dataset: Dataset) -> Path:
        """Store the rows, unless they are in the store, and return their file.

        Raises:
            DatasetError: The rows are still a table, or the folder can't be written to.
        """
        path = self._path(dataset.fingerprint)
        # A whole file with so many rows is taken as it is: the content is checked whenever it is read.
        if stored_rows(path) != len(dataset):
            self._write(dataset.canonical, path)
        return path

    def get(self, fingerprint: str) -> Path:
        """Return the file of a dataset, after checking that its rows have the hash in its name.

        Raises:
            DatasetError: It isn't in the store, or it was altered.
        """
        return self._checked(fingerprint)[0]

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
        path, rows = self._checked(fingerprint)
        table = table_of_messages(rows)
        is_labelled = "label" in table.columns
        if set(table.columns).difference(BESIDE) != set(SIDES[format]) or is_labelled != (format == "unpaired"):
            raise DatasetError(
                f"the stored rows have {', '.join(table.columns)}, and aren't {format} rows.", source=str(path)
            )
        found = Dataset(table, Source(name=name, lineage=lineage), format=format, rows=rows)
        found.named_by(fingerprint)
        return found

    def _checked(self, fingerprint: str) -> tuple[Path, RowSequence]:
        path = self._path(fingerprint)
        try:
            rows = read_stored_rows(path, fingerprint)
        except FileNotFoundError as error:
            raise DatasetError(
                f"the store holds no rows with the fingerprint {fingerprint}.",
                source=str(self.root),
                hint="Store them again with Store().put(dataset), or point FTSDK_HOME at the folder where they are.",
            ) from error
        if not path.exists():  # an earlier version stored them
            self._write(rows, path)
        return path, rows

    def _write(self, rows: RowSequence, path: Path) -> None:
        try:
            with replacing(path) as draft:
                write_message_rows(rows, draft)
        except OSError as error:
            raise DatasetError(
                f"the rows can't be stored: {error.strerror or error}.",
                source=printable(str(self.root)),
                hint="Check the folder and the space on its disk, or point FTSDK_HOME at another folder.",
            ) from error

    def _path(self, fingerprint: str) -> Path:
        return self.root / f"{fingerprint}.arrow"


def read_stored_rows(path: Path, fingerprint: str | None = None) -> RowSequence:
    """Map a file of the store, or a copy of it, into memory. Earlier versions wrote JSON lines, which are read too.

    Args:
        path: The file.
        fingerprint: What the rows must have; None: not checked.

    Raises:
        FileNotFoundError: There is no such file.
        DatasetError: It can't be read, isn't such a file, or has other rows.
    """
    try:
        rows = _read(path)
        found = None if fingerprint is None else fingerprint_of(rows)
    except FileNotFoundError:
        raise
    # pyarrow's own errors are among these.
    except (OSError, ValueError, LookupError, TypeError, NotImplementedError, MemoryError, RecursionError) as error:
        raise _altered(path, " ".join(printable(str(error)).split())[:200]) from error
    if found and fingerprint and found != fingerprint:
        raise _altered(path, f"their hash is {found[:12]}..., not {fingerprint[:12]}...")
    return rows


def _read(path: Path) -> RowSequence:
    old = path.with_suffix(".jsonl")
    if path.exists() or not old.is_file():
        return open_message_rows(path)
    with old.open(encoding="utf-8") as lines:
        return message_rows(map(json.loads, lines))


def _altered(path: Path, how: str) -> DatasetError:
    return DatasetError(
        f"the stored rows were altered: {how}.",
        source=str(path),
        hint="Delete the file, and store the rows again with Store().put(dataset).",
    )
