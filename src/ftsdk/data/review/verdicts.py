"""Verdicts on rows, kept by the content of the rows: they survive another order, and rows that come and go."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ftsdk._files import read_regular_file, replace_file
from ftsdk._format import printable
from ftsdk.data.rows import Rows
from ftsdk.errors import DatasetError, SpecError
from ftsdk.spec import Value

__all__ = ["Judgement", "RowVerdict", "parse_verdicts", "read_verdicts", "row_ids", "update_verdicts", "write_verdicts"]

Judgement = Literal["good", "bad", "skip"]
_MOST_BYTES = 1 << 30
_HINT = "Pass the file that `ftsdk data review` or `write_verdicts` wrote."


class RowVerdict(Value):
    """What a reviewer says of a row."""

    verdict: Judgement | None = None
    """None: corrected, or noted, without a verdict."""
    note: str = ""
    completion: str | None = None
    """A better answer; None: the row's own stays."""
    on: str = ""
    """When, in UTC: `2026-11-27T23:30:00Z`."""
    by: str = ""
    """Where the verdict was given, or by whom."""


class _File(Value):
    version: Literal[1]
    name: str = ""
    rows: Annotated[dict[str, RowVerdict], Field(default_factory=dict)]


def row_ids(dataset: Rows) -> Iterator[str]:
    """Yield an id for each row that depends on its content alone."""
    for row in dataset:
        text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
        yield hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def read_verdicts(path: Path) -> dict[str, RowVerdict]:
    """Return the verdicts in a file by the ids of rows; none if there is no file.

    Raises:
        DatasetError: It can't be read, or isn't such a file.
    """
    try:
        content = read_regular_file(path, most_bytes=_MOST_BYTES)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unusable(path, getattr(error, "strerror", None) or str(error)) from error
    return parse_verdicts(content, path)


def parse_verdicts(content: bytes, path: Path) -> dict[str, RowVerdict]:
    """Return the verdicts in the content of a file.

    Raises:
        DatasetError: It isn't such a file.
    """
    try:
        return _File.from_json(content).rows
    except SpecError as error:
        raise _unusable(path, str(error)) from error


def write_verdicts(path: Path, verdicts: Mapping[str, RowVerdict], *, name: str = "") -> None:
    """Replace the file as a whole; readable by its owner only, since notes and corrections may hold what rows do.

    Raises:
        DatasetError: It can't be written.
    """
    record: dict[str, Any] = {
        "version": 1,
        "name": name,
        "rows": {one: verdict.to_dict() for one, verdict in verdicts.items()},
    }
    try:
        replace_file(path, (json.dumps(record, indent=0) + "\n").encode())
    except OSError as error:
        raise DatasetError(
            f"verdicts can't be kept: {error.strerror or error}.",
            source=printable(str(path)),
            hint="Name another file with --verdicts.",
        ) from error


def update_verdicts(path: Path, changed: Mapping[str, RowVerdict], *, name: str = "") -> None:
    """Put verdicts into the file beside those that it holds by now, which another reviewer may have added.

    Raises:
        DatasetError: It can't be read or written, or isn't such a file.
    """
    with _alone_in(path.parent):
        write_verdicts(path, {**read_verdicts(path), **changed}, name=name)


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """Wait until no other process updates a file of the folder. Where a folder can't be locked, it isn't."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _unusable(path: Path, why: str) -> DatasetError:
    return DatasetError(f"isn't a file of verdicts: {printable(why, 300)}.", source=printable(str(path)), hint=_HINT)
