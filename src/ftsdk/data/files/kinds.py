"""Kinds of data files, by their ending, and the rows in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ftsdk.data.arrow_rows import arrow_rows
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.csv_text import csv_rows
from ftsdk.data.file_content import COMPRESSED, read_text, text_blocks, unpacked_file
from ftsdk.data.files.arrow_tables import arrow_tables, parquet_tables
from ftsdk.data.json_text import json_array, json_lines
from ftsdk.errors import DatasetError

__all__ = ["SUFFIXES", "FileKind", "kind_of", "needed_kind", "rows_in"]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".arrow")
"""The kinds of file that can be read, by their ending."""


class FileKind(NamedTuple):
    """How a file is read."""

    suffix: str
    """One of `SUFFIXES`."""
    packing: str
    """`.gz`, `.zst` or nothing, which follows it."""


def kind_of(name: str) -> FileKind | None:
    """Return the kind of a file by its name; None if it isn't one that can be read."""
    path = PurePosixPath(name.replace("\0", ""))
    packing = path.suffix.lower() if path.suffix.lower() in COMPRESSED else ""
    suffix = PurePosixPath(path.stem).suffix.lower() if packing else path.suffix.lower()
    return FileKind(suffix, packing) if suffix in SUFFIXES else None


def needed_kind(name: str, source: str) -> FileKind:
    """Return the kind of a file.

    Args:
        name: The file's name.
        source: What errors call it.

    Raises:
        DatasetError: It isn't one that can be read.
    """
    found = kind_of(name)
    if found is not None:
        return found
    endings = PurePosixPath(name).suffixes[-2:] if name.lower().endswith(COMPRESSED) else [PurePosixPath(name).suffix]
    raise DatasetError(
        f"files that end in {''.join(endings).lower() or 'nothing'!r} can't be read; known: {', '.join(SUFFIXES)}, "
        f"each also with {' or '.join(COMPRESSED)} behind that.",
        source=source,
        hint="Convert or unpack it first.",
    )


def rows_in(
    path: Path, name: str, kind: FileKind, bad: BadRows, *, is_streamed: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a file, each with its line in a file of text or its number, from 1.

    Args:
        path: The file, with its own ending.
        name: Its name, for errors.
        kind: What it is.
        bad: Where rows go that can't be read.
        is_streamed: Whether only as much is read as is taken, so that a file of JSON Lines may have any size.

    Raises:
        DatasetError: The file can't be read.
    """
    if kind.suffix == ".jsonl":
        yield from json_lines(text_blocks(path, name, is_streamed=is_streamed), name, bad)
    elif kind.suffix == ".json":
        yield from json_array(read_text(path, name), name, bad)
    elif kind.suffix in (".csv", ".tsv"):
        yield from csv_rows(text_blocks(path, name), name, bad, delimiter="\t" if kind.suffix == ".tsv" else ",")
    else:
        tables = parquet_tables if kind.suffix == ".parquet" else arrow_tables
        with unpacked_file(path, name) as file:
            first = 1
            for table in tables(file, name, path.stat().st_size):
                yield from enumerate(arrow_rows(table, name), start=first)
                first += len(table)
