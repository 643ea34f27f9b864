"""The key of placeholders: what stands for what, row by row, apart from the data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias, cast

from ftsdk._files import replace_file
from ftsdk.data.cleaning.cleaner import Changed, Verdicts
from ftsdk.data.cleaning.row_texts import CleanRows, texts_of, with_texts
from ftsdk.data.privacy import restore
from ftsdk.errors import DatasetError

__all__ = ["KeySource", "KeyTarget", "read_key", "restored_rows", "write_key"]

KeyTarget: TypeAlias = str | Path | MutableMapping[str, dict[str, str]]
"""A JSON file, or a dict that is filled."""
KeySource: TypeAlias = str | Path | Mapping[str, Mapping[str, str]]
"""By the place of the row ("mails.csv:7"), what each placeholder stands for."""


def write_key(target: KeyTarget, keys: Mapping[str, Mapping[str, str]]) -> None:
    """Add to a key. A file is made readable by its owner only, and replaced as a whole.

    Raises:
        DatasetError: The file can't be read or written, or it has other values for the same placeholders.
    """
    is_file = isinstance(target, (str, Path))
    known: MutableMapping[str, dict[str, str]]
    known = _read(Path(target)) if is_file and Path(target).exists() else {} if is_file else target
    for place, values in keys.items():
        own = known.setdefault(place, {})
        for placeholder, value in values.items():
            if own.setdefault(placeholder, value) != value:
                raise DatasetError(
                    f"the key has another value for {placeholder} of {place}.",
                    source=str(target) if is_file else None,
                    hint="Pass a new file as key=; a key belongs to one dataset.",
                )
    if is_file:
        content = json.dumps(known, ensure_ascii=False, indent=0).encode("utf-8", "surrogatepass")
        try:
            replace_file(Path(target), content)
        except OSError as error:
            raise _unusable(Path(target), error.strerror or str(error)) from error


def read_key(source: KeySource) -> Mapping[str, Mapping[str, str]]:
    """Return a key.

    Raises:
        DatasetError: The file can't be read, or isn't a key.
    """
    return _read(Path(source)) if isinstance(source, (str, Path)) else source


def restored_rows(rows: CleanRows, key: Mapping[str, Mapping[str, str]]) -> Verdicts:
    """Yield the rows in which placeholders are put back."""
    places: Iterator[Any] = rows.places()
    for first, batch in rows.batches():
        for number, (row, where) in enumerate(zip(batch, places, strict=False), start=first):
            own = key.get(str(where))
            if not own:
                continue
            texts = texts_of(row, rows.format)
            done = restore(texts, {0: own}, rows=[0] * len(texts))
            if done != texts:
                yield Changed(number, "placeholders restored", with_texts(row, rows.format, done))


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        found = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unusable(path, getattr(error, "strerror", None) or str(error)) from error
    values = cast("dict[str, object]", found).values() if isinstance(found, dict) else [None]
    if not all(
        isinstance(own, dict) and all(isinstance(value, str) for value in cast("dict[str, object]", own).values())
        for own in values
    ):
        raise _unusable(path, "it isn't an object of objects of texts")
    return cast("dict[str, dict[str, str]]", found)


def _unusable(path: Path, why: str) -> DatasetError:
    return DatasetError(
        f"the key can't be used: {why}.", source=str(path), hint="Pass the file that clean(..., key=...) wrote."
    )
