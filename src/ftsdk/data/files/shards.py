"""A folder or a pattern of files that together are one dataset."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from ftsdk._format import printable
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.files.kinds import SUFFIXES, kind_of, rows_in
from ftsdk.data.forms import detect_form
from ftsdk.data.limits import LIMITS
from ftsdk.data.table import Table, table_of
from ftsdk.errors import DatasetError

__all__ = ["Shards", "find_shards", "is_pattern", "read_shards"]

_PARTS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "test": "test",
}
"""The part of a split that a file holds, by the first word of its name."""
_NUMBERED = re.compile(r"(.*?)-?(\d{1,6})-of-(\d{1,6})(\..*)")
"""As the Hugging Face hub names shards: `train-00000-of-00002.parquet`."""


class Shards(NamedTuple):
    """The files of a folder or of a pattern."""

    base: Path
    """What their names are relative to."""
    files: tuple[Path, ...]
    """In the order of their names."""
    left_out: tuple[str, ...]
    """What else is there: names of hidden files, of files that hold no data, and of folders."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the files, for errors."""
        return tuple(printable(file.relative_to(self.base).as_posix(), 200) for file in self.files)


def is_pattern(path: str) -> bool:
    """Return whether a path is a pattern such as `data/*.jsonl`, unless there is a file of that name."""
    return glob.has_magic(path)


def find_shards(path: Path) -> Shards:
    """Return the files of a folder, or those that match a pattern.

    Raises:
        DatasetError: There are none, too many, or they don't belong together: different kinds or parts of a split, a
            file beside its packed copy, or shards that are missing.
    """
    shown = printable(str(path), 400)
    try:
        if path.is_dir():
            base, found = path, sorted(path.iterdir())
        else:
            base = _fixed_part(path)
            found = sorted(Path(name) for name in glob.glob(str(path), recursive=True, include_hidden=True))  # noqa: PTH207
    except (OSError, ValueError, re.error) as error:
        raise DatasetError(f"the folder can't be read: {error}.", source=shown) from error
    files = tuple(
        entry for entry in found if not _is_hidden(entry, base, path) and kind_of(entry.name) and entry.is_file()
    )
    chosen = set(files)
    others = [entry for entry in found if entry not in chosen]
    names = tuple(printable(entry.relative_to(base).as_posix() + ("/" if entry.is_dir() else "")) for entry in others)
    if not files:
        raise DatasetError(_nothing(path, names), source=shown, hint=_advice(path, base))
    if len(files) > LIMITS.shards:
        raise DatasetError(f"has {len(files):,} files; {LIMITS.shards:,} is the most that is read.", source=shown)
    shards = Shards(base, files, names)
    _check_kinds(shards, shown)
    _check_repeats(shards, shown)
    _check_parts(shards, shown)
    if path.is_dir():
        _check_numbers(shards, shown)
    return shards


def read_shards(shards: Shards, bad: BadRows, *, source: str) -> Table:
    """Return the rows of all files, one file after the other.

    Args:
        shards: The files.
        bad: Where rows go that can't be read.
        source: The folder or the pattern, for errors.

    Raises:
        DatasetError: A file can't be read, or they aren't in one form.
    """
    import numpy

    counts: list[int] = []
    columns: list[dict[str, None]] = []

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for file, name in zip(shards.files, shards.names, strict=True):
            kind = kind_of(file.name)
            assert kind is not None
            count, own, before = 0, dict[str, None](), bad.count
            for line, row in rows_in(file, name, kind, bad):
                if not row.keys() <= own.keys():
                    own.update(dict.fromkeys(row))
                count += 1
                yield line, row
            if count == 0 and bad.count == before:
                raise DatasetError("has no rows.", source=name, hint="Remove the file, or name the others.")
            counts.append(count)
            columns.append(own)

    table = table_of(rows(), source=source, bad=bad)
    numbers = numpy.repeat(numpy.arange(len(counts)), counts)
    table = table._replace(sources=(numbers, shards.names))
    _check_forms(shards, table, counts, columns, source)
    return table


def _fixed_part(pattern: Path) -> Path:
    """Return the folder in front of the first part that is a pattern."""
    fixed: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _is_hidden(entry: Path, base: Path, pattern: Path) -> bool:
    """Return whether a file is hidden, or a folder on the way to it that the pattern doesn't name."""
    named = [part for part in pattern.parts if part.startswith(".")]
    *folders, name = entry.relative_to(base).parts
    return name.startswith(".") or any(
        folder.startswith(".") and not any(fnmatchcase(folder, part) for part in named) for folder in folders
    )


def _nothing(path: Path, names: Sequence[str]) -> str:
    if not path.is_dir():
        others = f"; it matches {', '.join(names[:5])}" if names else ""
        return f"no data file matches this pattern{others}."
    there = f" it holds {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}" if names else " it is empty"
    return f"the folder has no data file ({', '.join(SUFFIXES)});{there}."


def _advice(path: Path, base: Path) -> str | None:
    if path.is_dir() and any(entry.is_dir() for entry in base.iterdir()):
        return f"For the files of its folders, pass a pattern: {printable(path.name, 100)}/**/*.jsonl."
    return None


def _check_kinds(shards: Shards, shown: str) -> None:
    kinds = {kind_of(file.name): name for file, name in zip(shards.files, shards.names, strict=True)}
    suffixes = {kind.suffix: name for kind, name in kinds.items() if kind is not None}
    if len(suffixes) > 1:
        one, other, *_ = suffixes.values()
        raise DatasetError(
            f"has files of different kinds, such as {one} and {other}.",
            source=shown,
            hint=f"Name one kind by a pattern: *{next(iter(suffixes))}.",
        )


def _check_repeats(shards: Shards, shown: str) -> None:
    """Refuse a file beside its packed copy, and one under two names: a link to it, or to a folder around it."""
    first: dict[str, str] = {}
    known: dict[tuple[int, int], str] = {}
    for file, name in zip(shards.files, shards.names, strict=True):
        found = file.stat()
        other = known.setdefault((found.st_dev, found.st_ino), name)
        if other != name:
            raise DatasetError(
                f"has {other} and {name}, which are one file under two names.",
                source=shown,
                hint="Remove the link, or name the files by a pattern.",
            )
        kind = kind_of(file.name)
        packing = "" if kind is None else kind.packing
        seen = first.setdefault(name[: len(name) - len(packing)], name)
        if seen != name:
            raise DatasetError(
                f"has {seen} and {name}, which look like the same rows twice.",
                source=shown,
                hint="Remove one of them, or name the files by a pattern.",
            )


def _check_parts(shards: Shards, shown: str) -> None:
    parts: dict[str, str] = {}
    for file, name in zip(shards.files, shards.names, strict=True):
        part = _PARTS.get(re.split(r"[^a-z]", file.name.lower(), maxsplit=1)[0])
        if part is not None:
            parts.setdefault(part, name)
    if len(parts) > 1:
        patterns = " and ".join(f"{part}*" for part in parts)
        raise DatasetError(
            f"has the parts of a split ({', '.join(parts.values())}), which would be trained on together.",
            source=shown,
            hint=f"Read each alone, by a pattern in from_file: {patterns}.",
        )


def _check_numbers(shards: Shards, shown: str) -> None:
    groups: dict[tuple[str, str, int], set[int]] = {}
    for file in shards.files:
        found = _NUMBERED.fullmatch(file.name)
        if found is not None:
            groups.setdefault((found[1], found[4], int(found[3])), set()).add(int(found[2]))
    for (stem, ending, count), numbers in groups.items():
        if len(numbers) < count:
            missing = next(number for number in range(count + 1) if number not in numbers)
            raise DatasetError(
                f"has {len(numbers):,} of {count:,} shards named {printable(stem, 80)}-...-of-...{printable(ending)}; "
                f"number {missing} is missing.",
                source=shown,
                hint="Fetch the others; or name those that are to be read by a pattern.",
            )


def _check_forms(
    shards: Shards, table: Table, counts: Sequence[int], columns: Sequence[dict[str, None]], shown: str
) -> None:
    """Refuse files that aren't in one form or, where rows don't choose their own columns, have different ones."""
    kind = kind_of(shards.files[0].name)
    first: tuple[str, frozenset[str]] | None = None
    start = 0
    for name, count, own in zip(shards.names, counts, columns, strict=True):
        part = Table(table.rows[start : start + count], table.lines[start : start + count], tuple(own))
        start += count
        if count == 0:
            continue
        form = detect_form(part).form
        found = ("a table" if form is None else form.name, frozenset(own))
        first = first or found
        if found[0] != first[0]:
            raise DatasetError(
                f"the files aren't in one form: {shards.names[0]} is {first[0]}, {name} is {found[0]}.",
                source=shown,
                hint="Read each alone, and join them with +.",
            )
        if kind is not None and kind.suffix not in (".jsonl", ".json") and found[1] != first[1]:
            column = sorted(found[1] ^ first[1])[0]
            raise DatasetError(
                f"the files have different columns: only one of {shards.names[0]} and {name} has "
                f"{printable(column, 80)!r}.",
                source=shown,
                hint="Read each alone, and join them with +.",
            )
