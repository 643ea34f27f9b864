"""Rows as a JSON Lines file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from ftsdk._files import make_folder, replacing
from ftsdk.data.location import Location
from ftsdk.data.message_rows import as_lines
from ftsdk.data.row_sequence import RowSequence
from ftsdk.errors import DatasetError

__all__ = ["write_jsonl"]

_ROWS = 1_024


def write_jsonl(
    rows: RowSequence,
    path: Path,
    format: Literal["table", "chat", "preference", "unpaired"],  # noqa: A002
    places: Iterator[Location],
) -> Path:
    """Write rows to a file that is replaced as a whole; see `Dataset.to_jsonl`."""
    if path.suffix != ".jsonl":
        raise DatasetError(
            f"{path.name!r} doesn't end in .jsonl.", hint="Name the file so, or reading it back would fail."
        )
    try:
        make_folder(path.parent)
        with replacing(path) as draft, draft.open("wb") as file:
            if format == "table":
                for row, where in zip(rows, places, strict=True):
                    file.write(_line(row, where))
            else:
                for start in range(0, len(rows), _ROWS):
                    file.write(as_lines(rows[start : start + _ROWS]))
    except OSError as error:
        raise DatasetError(f"the rows can't be written: {error.strerror or error}.", source=str(path)) from error
    return path


def _line(row: dict[str, Any], where: Location) -> bytes:
    try:
        text = json.dumps(row, ensure_ascii=False, default=_plain, allow_nan=False)
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(row, default=_plain, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise where.error(
            f"the row can't be written as JSON: {error}.", hint="Change the value with map(...) first."
        ) from error


def _plain(value: object) -> str:
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    raise TypeError(f"it has a {type(value).__name__}")
