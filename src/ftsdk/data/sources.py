"""Where rows come from: files, the Hugging Face hub, tables and lists in memory."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from ftsdk._format import printable
from ftsdk._secrets import has_url_secret, mask_urls
from ftsdk.data.arrow_rows import arrow_rows, short_float
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.files import (
    FileKind,
    Shards,
    fetched,
    find_shards,
    is_pattern,
    kind_of,
    needed_kind,
    read_shards,
    rows_in,
)
from ftsdk.data.hub import datasets_rows, hub_stream, open_hub
from ftsdk.data.json_text import refuse_depth
from ftsdk.data.location import Location
from ftsdk.data.source import RowSource, Source
from ftsdk.data.table import Table, table_of
from ftsdk.errors import DatasetError
from ftsdk.spec.base import nearest
from ftsdk.spec.urls import is_url

__all__ = ["RowSource", "Source", "memory_table", "open_hub", "open_source", "open_stream", "plain_row", "rows_table"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/datasets/([\w.-]+/[\w.-]+)/?")


def open_source(
    path: Any, *, split: str | None, revision: str | None, subset: str | None, bad: BadRows
) -> tuple[Table, Source]:
    """Read a file, a hub dataset, a table or a list of dicts; see `Dataset.from_file`."""
    if not isinstance(path, (str, Path)):
        _only_for_hub(split, revision, subset, "a table")
        if isinstance(path, Sequence):
            return rows_table(cast("Sequence[Mapping[str, Any]]", path)), Source(name="rows")
        return memory_table(path), Source(name="table")
    if isinstance(path, str) and _is_hub_id(path):
        return open_hub(path, split=split or "train", revision=revision, subset=subset)
    _only_for_hub(split, revision, subset, "a file")
    if isinstance(path, str) and is_url(path) and not Path(path).exists():
        return _open_url(path, bad)
    file = _expanded(path)
    shards, source = _on_disk(file, bad)
    if shards is not None:
        return read_shards(shards, bad, source=source.name), source
    return table_of(rows_in(file, source.name, _kind(file), bad), source=source.name, bad=bad), source


def open_stream(
    path: Any, *, split: str | None, revision: str | None, subset: str | None, bad: BadRows
) -> tuple[RowSource, Source]:
    """Return what reads the rows of a file, a folder, an address or a hub dataset one after the other.

    Raises:
        DatasetError: There is no such file, or it is a table in memory.
    """
    if not isinstance(path, (str, Path)):
        raise DatasetError("stream=True is for files and the hub, and this is a table in memory.")
    if isinstance(path, str) and _is_hub_id(path):
        return hub_stream(path, split=split or "train", revision=revision, subset=subset)
    _only_for_hub(split, revision, subset, "a file")
    if isinstance(path, str) and is_url(path) and not Path(path).exists():
        return _url_stream(path, bad)
    file = _expanded(path)
    shards, source = _on_disk(file, bad)
    if shards is None:
        _kind(file)  # refused now, and not when it is read
    files, names = ((file,), (source.name,)) if shards is None else (shards.files, shards.names)

    def read(bad: BadRows) -> Generator[tuple[str | None, int, dict[str, Any]]]:
        for one, own in zip(files, names, strict=True):
            for line, row in rows_in(one, own, needed_kind(one.name, own), bad, is_streamed=True):
                yield own, line, row

    return read, source


def _on_disk(file: Path, bad: BadRows) -> tuple[Shards | None, Source]:
    """Return the files of a folder or a pattern, or None for one file, and where the rows come from."""
    name = printable(file.name or str(file))
    source = Source(name=name, location=name, recipe={"file": file.resolve(), **_on_bad(bad)})
    if not file.is_dir() and (file.exists() or not is_pattern(str(file))):
        return None, source
    shards = find_shards(file)
    return shards, replace(source, facts={"files": len(shards.files)}, skipped=shards.left_out)


def _kind(file: Path) -> FileKind:
    """Return the kind of a file.

    Raises:
        DatasetError: There is no such file, or it isn't of a kind that can be read.
    """
    shown = printable(str(file), 400)
    if not file.is_file():
        raise DatasetError(_missing(file), source=shown)
    return needed_kind(file.name, shown)


def _url_stream(address: str, bad: BadRows) -> tuple[RowSource, Source]:
    name = printable(unquote(urlsplit(mask_urls(address)).path.rpartition("/")[2]), 200)

    def read(bad: BadRows) -> Generator[tuple[str | None, int, dict[str, Any]]]:
        with fetched(address) as file:
            for line, row in rows_in(file.path, file.name, file.kind, bad, is_streamed=True):
                yield file.name, line, row

    return read, _at_address(address, name, bad)


def _at_address(address: str, name: str, bad: BadRows, facts: Mapping[str, Any] | None = None) -> Source:
    """Return where rows at an address come from. One with a signature in it can't be in a recipe.

    Args:
        address: The address.
        name: The name of the file there.
        bad: What becomes of rows that can't be used.
        facts: What is known of the file, once it was fetched.
    """
    shown = mask_urls(address)
    fetched_as = {} if facts is None else {"sha256": facts["sha256"]}
    origin = {"file": shown, **fetched_as, **_on_bad(bad)}
    if not has_url_secret(address):
        return Source(name=name, location=name, recipe={**origin, "file": address}, facts=facts)
    return Source(name=name, location=name, facts=facts, lineage=({**origin, **(facts or {})},))


def _on_bad(bad: BadRows) -> dict[str, Any]:
    return {"on_bad": bad.on_bad} if bad.on_bad != "raise" else {}


def _open_url(address: str, bad: BadRows) -> tuple[Table, Source]:
    """Read a file at an address."""
    on_hub = _HUB_PAGE.fullmatch(address)
    if on_hub is not None:
        raise DatasetError(
            "is a page of the Hugging Face hub.",
            source=printable(mask_urls(address), 200),
            hint=f"Pass the id: {on_hub[1]!r}.",
        )
    with fetched(address) as file:
        table = table_of(rows_in(file.path, file.name, file.kind, bad), source=file.name, bad=bad)
    return table, _at_address(address, file.name, bad, file.facts)


def _expanded(path: str | Path) -> Path:
    """Return a path with `~` written out.

    Raises:
        DatasetError: It can't be a path, or names the home of an unknown user.
    """
    shown = printable(mask_urls(str(path)), 200)
    if isinstance(path, Path) and is_url(str(path)) and not path.exists():
        raise DatasetError("is a URL as a Path, which loses a slash.", source=shown, hint="Pass it as text.")
    try:
        found = Path(path).expanduser()
        found.lstat()
    except FileNotFoundError:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DatasetError("the home folder that ~ means can't be found.", source=shown) from error
    except ValueError as error:
        raise DatasetError(f"isn't a path: {error}.", source=shown) from error
    except OSError as error:
        raise DatasetError(f"can't be read: {error.strerror or error}.", source=shown) from error
    return found


def memory_table(table: Any) -> Table:
    """Read the rows of a pandas, polars or pyarrow table, or of a `datasets.Dataset`.

    Raises:
        DatasetError: It is none of these, has a column twice, or has no rows.
    """
    library = type(table).__module__.partition(".")[0]
    names = [str(name) for name in getattr(table, "column_names", None) or getattr(table, "columns", ())]
    doubled = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubled:
        raise DatasetError(f"the table has the column {doubled[0]!r} twice.", hint="Rename one of them.")
    if library == "pandas":
        rows: list[dict[Any, Any]] = _pandas_rows(table)
    elif library == "polars" and hasattr(table, "to_dicts"):
        rows = table.to_dicts()
        for name, kind in table.schema.items():
            if str(kind) in ("Float32", "Float16"):
                for row, value in zip(rows, table[name].to_numpy(), strict=True):
                    row[name] = None if row[name] is None else short_float(value)
    elif library == "pyarrow" and hasattr(table, "to_pylist"):
        rows = arrow_rows(table)
    elif library == "datasets" and hasattr(table, "to_list"):
        rows = datasets_rows(table)
    else:
        raise DatasetError(
            f"can't read rows from a {type(table).__module__}.{type(table).__qualname__}.",
            hint=(
                "Pass a path, a hub id, a pandas, polars or pyarrow table (a lazy frame must be collected first), or a "
                "list of dicts."
            ),
        )
    return rows_table({str(key): value for key, value in row.items()} for row in rows)


def rows_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Read rows from memory. NumPy arrays and numbers become lists and plain numbers.

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
        found.append((number, plain_row(cast("Mapping[str, Any]", columns), Location(None, number))))
    return table_of(found, source=None)


def plain_row(columns: Mapping[str, Any], where: Location) -> dict[str, Any]:
    """Return a row from memory as plain Python.

    Raises:
        DatasetError: It is nested too deeply, or holds itself.
    """
    try:
        row = {str(key): plain(value) for key, value in columns.items()}
    except RecursionError as error:
        raise where.error("is nested too deeply, or holds itself.") from error
    refuse_depth(row, where)
    return row


def plain(value: Any) -> Any:
    """Return plain Python for NumPy's arrays and numbers, at any depth."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        if getattr(value, "dtype", None) not in ("float32", "float16"):
            return plain(value.tolist())
        return [plain(one) for one in value] if value.ndim else short_float(value)
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in cast("Mapping[Any, Any]", value).items()}
    if type(value) in (list, tuple):
        return [plain(one) for one in value]
    return value


def _pandas_rows(table: Any) -> list[dict[Any, Any]]:
    # Through objects, because NaN is how pandas writes "missing" and must not become the text "nan".
    rows: list[dict[Any, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    for name in table.columns:
        column = table[name]
        if column.dtype.kind == "f" and column.dtype.itemsize < 8:
            for row, value in zip(rows, column.to_numpy(), strict=True):
                row[name] = None if value != value else short_float(value)
        # Whole numbers with a gap are floats in pandas; 1.0 is 1 where they came from.
        if column.dtype.kind == "f" and column.isna().any() and (column.dropna() % 1 == 0).all():
            for row in rows:
                row[name] = None if row[name] is None else int(row[name])
    return rows


def _only_for_hub(split: str | None, revision: str | None, subset: str | None, what: str) -> None:
    for name, value in (("split", split), ("revision", revision), ("subset", subset)):
        if value is not None:
            raise DatasetError(f"{name}={value!r} is only for datasets on the hub, and this is {what}.")


def _is_hub_id(text: str) -> bool:
    """Return whether `org/name` is a hub id and not a path: by what is on disk first, then by form."""
    if _HUB_ID.fullmatch(text) is None or kind_of(text) is not None:
        return False
    return not Path(text).exists() and not Path(text).parent.is_dir()


def _missing(path: Path) -> str:
    if path.exists():
        return "isn't a regular file, but a pipe, a socket or a device; write the data into a file first."
    if not path.parent.is_dir():
        return f"there is no such file, and no folder {path.parent}."
    names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    if close:
        return f"there is no such file; did you mean {close[0]!r}?"
    readable = [name for name in names if kind_of(name) is not None]
    return (
        f"there is no such file{nearest(path.name, readable)}"
        if readable
        else "there is no such file, and none that could be read in its folder."
    )
