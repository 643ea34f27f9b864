"""Reading rows: text files line by line, so that every error knows its line; the rest through pyarrow and `datasets`."""

from __future__ import annotations

import csv
import difflib
import io
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from ftsdk.data.json_text import json_array, json_lines
from ftsdk.data.location import Location
from ftsdk.errors import DatasetError
from ftsdk.spec.base import nearest

__all__ = ["SUFFIXES", "Table", "hub_table", "memory_table", "read_file", "rows_table"]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
"""The kinds of file that can be read, told by their ending."""


class Table(NamedTuple):
    """Rows as they were found."""

    rows: tuple[dict[str, Any], ...]
    lines: tuple[int, ...]
    """Where each row starts: its line in a text file, else its number, from 1."""
    columns: tuple[str, ...]


def read_file(path: Path) -> Table:
    """Read a file of rows.

    Raises:
        DatasetError: There is no such file, it can't be read, or it isn't what its suffix says; with the line.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise DatasetError(_missing(path), source=str(path))
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise DatasetError(
            f"files that end in {suffix or 'nothing'!r} can't be read; known: {known}.", source=str(path), hint="Convert or unpack it first."
        )
    if suffix == ".parquet":
        return _read_parquet(path)
    text = _read_text(path)
    if suffix == ".jsonl":
        found = json_lines(text, path.name)
    elif suffix == ".json":
        found = json_array(text, path.name)
    else:
        found = _csv_rows(text, path.name, delimiter="\t" if suffix == ".tsv" else ",")
    return _table(found, source=path.name)


def hub_table(hub_id: str, *, split: str, revision: str | None, subset: str | None) -> Table:
    """Read a dataset from the Hugging Face hub, or from the local cache when offline.

    Raises:
        DatasetError: It can't be found or reached, or it has no such split or subset.
    """
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        loaded = datasets.load_dataset(hub_id, name=subset, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(
            f"can't be loaded from the Hugging Face hub (split={split!r}, subset={subset!r}, revision={revision!r}): {reason}",
            source=hub_id,
            hint="Check the id and the network; for private data run `hf auth login`; a local file is read if its path exists.",
        ) from error
    rows: list[dict[str, Any]] = loaded.to_list()  # pyright: ignore[reportAttributeAccessIssue]
    return _table(enumerate(rows, start=1), source=hub_id)


def memory_table(table: Any) -> Table:
    """Take the rows of a pandas, polars or pyarrow table, or of a `datasets.Dataset`.

    Raises:
        DatasetError: It is none of these, or it has no rows.
    """
    library = type(table).__module__.partition(".")[0]
    names = [str(name) for name in getattr(table, "column_names", None) or getattr(table, "columns", ())]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DatasetError(f"the table has the column {doubled[0]!r} twice.", hint="Rename one of them.")
    if library == "pandas":
        # Through objects, because NaN is how pandas writes "missing" and must not become the text "nan".
        rows: list[dict[Any, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    elif library == "polars" and hasattr(table, "to_dicts"):
        rows = table.to_dicts()
    elif library == "pyarrow" and hasattr(table, "to_pylist"):
        rows = table.to_pylist()
    elif library == "datasets" and hasattr(table, "to_list"):
        rows = table.to_list()
    else:
        raise DatasetError(
            f"can't read rows from a {type(table).__module__}.{type(table).__qualname__}.",
            hint="Pass a path, a hub id, a pandas, polars or pyarrow table (a lazy frame must be collected first), or a list of dicts.",
        )
    return rows_table({str(key): value for key, value in row.items()} for row in rows)


def rows_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Take rows from memory.

    Raises:
        DatasetError: There are none, or one of them isn't a mapping with text keys.
    """
    found: list[tuple[int, dict[str, Any]]] = []
    for number, row in enumerate(cast("Iterable[object]", rows), start=1):
        if not isinstance(row, Mapping):
            raise Location(None, number).error(f"is a {type(row).__name__}; every row must be a dict of columns.")
        columns = cast("Mapping[object, Any]", row)
        if not all(isinstance(key, str) for key in columns):
            raise Location(None, number).error("has a column whose name isn't text.")
        found.append((number, {str(key): value for key, value in columns.items()}))
    return _table(found, source=None)


def _table(found: Iterable[tuple[int, dict[str, Any]]], *, source: str | None) -> Table:
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    columns: dict[str, None] = {}
    for line, row in found:
        rows.append(row)
        lines.append(line)
        columns.update(dict.fromkeys(row))
    if not rows:
        raise DatasetError("has no rows.", source=source) if source else DatasetError("there are no rows.")
    return Table(tuple(rows), tuple(lines), tuple(columns))


def _missing(path: Path) -> str:
    if path.is_dir():
        return f"is a folder; name one file in it ({', '.join(SUFFIXES)})"
    if not path.parent.is_dir():
        return f"there is no such file, and no folder {path.parent}."
    names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    if close:
        return f"there is no such file; did you mean {close[0]!r}?"
    readable = [name for name in names if name.lower().endswith(SUFFIXES)]
    return f"there is no such file{nearest(path.name, readable)}" if readable else "there is no such file, and none that could be read in its folder."


def _read_text(path: Path) -> str:
    content = path.read_bytes()
    if not content.strip():
        raise DatasetError("the file is empty.", source=path.name)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DatasetError("the file is in UTF-16, not UTF-8.", source=path.name, hint=_convert(path, "UTF-16"))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig counts from behind the byte order mark.
        offset = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
        raise DatasetError(
            f"the file isn't in UTF-8: byte 0x{content[offset]:02x} at offset {offset} can't be decoded.",
            source=path.name,
            line=content.count(b"\n", 0, offset) + 1,
            hint=_convert(path, "WINDOWS-1252"),
        ) from error


def _convert(path: Path, encoding: str) -> str:
    return f"Convert it, for example: iconv -f {encoding} -t UTF-8 {path.name} > {path.stem}-utf8{path.suffix}"


def _csv_rows(text: str, source: str, *, delimiter: str) -> Iterable[tuple[int, dict[str, Any]]]:
    # The limit is the process's, and 128 KiB by default: long documents are normal here.
    limit = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header: list[str] | None = None
        rows: list[tuple[int, dict[str, Any]]] = []
        line = 1
        try:
            for record in reader:
                started, line = line, reader.line_num + 1
                if not record:
                    continue
                if header is None:
                    header = _csv_header(record, Location(source, started), delimiter)
                elif len(record) != len(header):
                    raise Location(source, started).error(
                        f"the row has {len(record)} fields, the header has {len(header)} ({', '.join(header)}).",
                        hint=f'Put text that holds {"a tab" if delimiter != "," else "a comma"}, a quote or a line break in quotes: "...".',
                    )
                else:
                    rows.append((started, dict(zip(header, record, strict=True))))
        except csv.Error as error:
            raise Location(source, line).error(
                f"the row can't be read ({error}).", hint='A quote inside quoted text is written twice: "".'
            ) from error
    finally:
        csv.field_size_limit(limit)
    if not rows:
        raise DatasetError("has a header and no rows.", source=source)
    return rows


def _csv_header(record: list[str], where: Location, delimiter: str) -> list[str]:
    header = [name.strip() for name in record]
    if len(header) == 1:
        other = next((sign for sign in (";", "\t", ",", "|") if sign != delimiter and sign in header[0]), None)
        if other is not None:
            raise where.error(
                f"the columns seem to be separated by {other!r}, not by {delimiter!r}: {header[0]!r}.", hint="Save it with that separator."
            )
    for name in header:
        if not name:
            raise where.error("a column of the header has no name.")
        if header.count(name) > 1:
            raise where.error(f"the header has the column {name!r} twice.")
    return header


def _read_parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table: Any = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DatasetError(f"the file can't be read as Parquet ({' '.join(str(error).split())}).", source=path.name) from error
    return _table(enumerate(table.to_pylist(), start=1), source=path.name)
