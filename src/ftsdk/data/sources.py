"""Where rows come from: files, the Hugging Face hub, tables and lists in memory."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ftsdk._format import printable
from ftsdk._secrets import mask_urls, redact
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.csv_text import csv_rows
from ftsdk.data.file_content import COMPRESSED, read_parquet, read_text, text_blocks
from ftsdk.data.json_text import WrittenFloat, json_array, json_lines, refuse_depth
from ftsdk.data.location import Location
from ftsdk.data.table import Table, table_of
from ftsdk.errors import DatasetError
from ftsdk.spec.base import nearest
from ftsdk.spec.urls import is_url

__all__ = ["SUFFIXES", "Source", "memory_table", "open_hub", "open_source", "plain_row", "rows_table"]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
"""The kinds of file that can be read, by their ending."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where the rows of a dataset come from; passwords and signatures of URLs in its name are masked."""

    name: str
    """The display name: a file's name, a hub id, or what the caller calls it."""
    location: str | None = None
    """The file or hub id that errors name; None for rows from memory."""
    recipe: Mapping[str, Any] | None = None
    """The fields of a `Recipe` that lead back to these rows, with an absolute path; None for rows from memory."""
    lineage: tuple[Mapping[str, Any], ...] | None = None
    """Of rows that were stored: what their recipe says about where they came from."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", mask_urls(self.name))


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
    file = _expanded(path)
    recipe = {"file": file.resolve(), **({"on_bad": bad.on_bad} if bad.on_bad != "raise" else {})}
    return _read_file(file, bad), Source(name=printable(file.name), location=printable(file.name), recipe=recipe)


def _expanded(path: str | Path) -> Path:
    """Return a path with `~` written out.

    Raises:
        DatasetError: It can't be a path, or names the home of an unknown user.
    """
    shown = printable(mask_urls(str(path)), 200)
    if is_url(str(path)) and not Path(path).exists():
        raise DatasetError(
            "is a URL, and files are read from this machine.", source=shown, hint="Download it, and pass the file."
        )
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


def open_hub(hub_id: str, *, split: str, revision: str | None, subset: str | None) -> tuple[Table, Source]:
    """Read a dataset from the Hugging Face hub, or from the local cache when offline.

    Raises:
        DatasetError: It can't be found or reached, or it has no such split or subset.
    """
    if is_url(hub_id):
        raise DatasetError(
            "is a URL, not an id on the Hugging Face hub.",
            source=printable(mask_urls(hub_id), 200),
            hint="An id looks like 'org/name'.",
        )
    for given in (revision, subset, split):
        if given is not None and mask_urls(given) != given:
            raise DatasetError(f"holds a password or a signature: {printable(mask_urls(given), 200)}.", source=hub_id)
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        loaded = datasets.load_dataset(hub_id, name=subset, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        reason = " ".join(redact(str(error)).split())
        raise DatasetError(
            f"can't be loaded from the Hugging Face hub (split={split!r}, subset={subset!r}, revision={revision!r}): "
            f"{reason}",
            source=hub_id,
            hint=(
                "Check the id and the network; for private data run `hf auth login`; a local file is read if its path "
                "exists."
            ),
        ) from error
    named = {"hub_split": None if split == "train" else split, "revision": revision, "subset": subset}
    recipe = {"hub": hub_id, **{key: value for key, value in named.items() if value is not None}}
    return table_of(enumerate(_datasets_rows(loaded), start=1), source=hub_id), Source(
        name=hub_id, location=hub_id, recipe=recipe
    )


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
                    row[name] = None if row[name] is None else _float32(value)
    elif library == "pyarrow" and hasattr(table, "to_pylist"):
        rows = _arrow_rows(table)
    elif library == "datasets" and hasattr(table, "to_list"):
        rows = _datasets_rows(table)
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
        return [plain(one) for one in value] if value.ndim else _float32(value)
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in cast("Mapping[Any, Any]", value).items()}
    if type(value) in (list, tuple):
        return [plain(one) for one in value]
    return value


def _float32(value: Any) -> float:
    """Return a short float as its library shows it: 0.1, not the 0.10000000149011612 that a long one makes of it."""
    return WrittenFloat(str(value)) if math.isfinite(value) else float(value)


def _pandas_rows(table: Any) -> list[dict[Any, Any]]:
    # Through objects, because NaN is how pandas writes "missing" and must not become the text "nan".
    rows: list[dict[Any, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    for name in table.columns:
        column = table[name]
        if column.dtype.kind == "f" and column.dtype.itemsize < 8:
            for row, value in zip(rows, column.to_numpy(), strict=True):
                row[name] = None if value != value else _float32(value)
        # Whole numbers with a gap are floats in pandas; 1.0 is 1 where they came from.
        if column.dtype.kind == "f" and column.isna().any() and (column.dropna() % 1 == 0).all():
            for row in rows:
                row[name] = None if row[name] is None else int(row[name])
    return rows


def _arrow_rows(table: Any, source: str | None = None) -> list[dict[str, Any]]:
    """Read the rows of a pyarrow table; one that `datasets` wrote names its classes in the metadata."""
    try:
        rows: list[dict[str, Any]] = table.to_pylist()
    except (ValueError, OverflowError) as error:  # text that isn't UTF-8, a date beyond the year 9999
        raise DatasetError(
            f"a value can't be read ({printable(str(error), 300)}).", source=source, hint="Remove or convert the value."
        ) from error
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        if str(kind) in ("float", "halffloat"):
            for row, value in zip(rows, table[name].to_numpy(), strict=True):
                row[name] = None if row[name] is None else _float32(value)
    try:
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    except (TypeError, KeyError, ValueError):
        return rows
    for name, feature in features.items():
        if isinstance(feature, dict) and cast("dict[str, Any]", feature).get("_type") == "ClassLabel":
            for row in rows:
                row[name] = _class_name(row[name], cast("list[str]", feature["names"]).__getitem__)
    return rows


def _datasets_rows(table: Any) -> list[dict[str, Any]]:
    """Read the rows of a `datasets.Dataset`, with the names of classes in place of their numbers."""
    rows: list[dict[str, Any]] = table.to_list()
    for name, feature in table.features.items():
        read = _class_names(feature)
        if read is not None:
            for row in rows:
                row[name] = read(row[name])
    return rows


def _class_names(feature: Any) -> Callable[[Any], Any] | None:
    """Return a function that puts class names in place of numbers, at any depth; None if the feature has no classes."""
    kind = type(feature).__name__
    if kind == "ClassLabel":
        return lambda value: _class_name(value, feature.int2str)
    if isinstance(feature, Mapping):
        inner = {
            name: read
            for name, one in cast("Mapping[str, Any]", feature).items()
            if (read := _class_names(one)) is not None
        }
        if not inner:
            return None
        return lambda value: (
            None if value is None else {key: inner[key](one) if key in inner else one for key, one in value.items()}
        )
    item = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    each = None if item is None else _class_names(item)
    if each is None:
        return None
    return lambda value: None if value is None else [each(one) for one in value]


def _class_name(value: int | None, name_of: Callable[[int], str]) -> str | None:
    # -1 is how sets without labels write "no label".
    return None if value is None or value < 0 else name_of(int(value))


def _only_for_hub(split: str | None, revision: str | None, subset: str | None, what: str) -> None:
    for name, value in (("split", split), ("revision", revision), ("subset", subset)):
        if value is not None:
            raise DatasetError(f"{name}={value!r} is only for datasets on the hub, and this is {what}.")


def _is_hub_id(text: str) -> bool:
    """Return whether `org/name` is a hub id and not a path: by what is on disk first, then by form."""
    if _HUB_ID.fullmatch(text) is None or Path(text).suffix.lower() in SUFFIXES:
        return False
    return not Path(text).exists() and not Path(text).parent.is_dir()


def _read_file(path: Path, bad: BadRows) -> Table:
    if not path.is_file():
        raise DatasetError(_missing(path), source=printable(str(path), 400))
    packing = path.suffix.lower() if path.suffix.lower() in COMPRESSED else ""
    suffix = Path(path.stem).suffix.lower() if packing else path.suffix.lower()
    if suffix not in SUFFIXES or (packing and suffix == ".parquet"):
        known = ", ".join(SUFFIXES)
        raise DatasetError(
            f"files that end in {suffix + packing or 'nothing'!r} can't be read; known: {known}, and text also with "
            f"{' or '.join(COMPRESSED)} behind that.",
            source=str(path),
            hint="Convert or unpack it first.",
        )
    name = printable(path.name)
    if suffix == ".parquet":
        return table_of(enumerate(_arrow_rows(read_parquet(path), name), start=1), source=name)
    if suffix == ".jsonl":
        found = json_lines(text_blocks(path), name, bad)
    elif suffix == ".json":
        found = json_array(read_text(path), name, bad)
    else:
        found = csv_rows(text_blocks(path), name, bad, delimiter="\t" if suffix == ".tsv" else ",")
    return table_of(found, source=name, bad=bad)


def _missing(path: Path) -> str:
    if path.is_dir():
        return f"is a folder; name one file in it ({', '.join(SUFFIXES)})"
    if path.exists():
        return "isn't a regular file, but a pipe, a socket or a device; write the data into a file first."
    if not path.parent.is_dir():
        return f"there is no such file, and no folder {path.parent}."
    names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    if close:
        return f"there is no such file; did you mean {close[0]!r}?"
    readable = [name for name in names if name.lower().endswith(SUFFIXES)]
    return (
        f"there is no such file{nearest(path.name, readable)}"
        if readable
        else "there is no such file, and none that could be read in its folder."
    )
