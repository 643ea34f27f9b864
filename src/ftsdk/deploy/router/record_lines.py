"""The lines of a router's records, read back: whatever stands in a file, what comes out has the types of ours."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import IO, Any, cast

__all__ = ["LONGEST_LINE", "finished_lines", "record_in", "records_in"]

LONGEST_LINE = 1 << 20
"""Bytes; ours have a few thousand."""
_LARGEST = 10**15
"""Of any number. Times, tokens and dollars are far below."""


def finished_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file that are finished and not too long; memory doesn't depend on what is in the file.

    The last one may be in the middle of being written, or was cut off by a crash: the file then stands at its start.
    """
    while True:
        start = file.tell()
        text = file.readline(LONGEST_LINE)
        if text.endswith(b"\n"):
            yield text
            continue
        if len(text) < LONGEST_LINE:
            file.seek(start)
            return
        while (more := file.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
            pass


def records_in(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the records in the finished lines of a file, from where it stands."""
    for text in finished_lines(file):
        line = record_in(text)
        if line is not None:
            yield line


def record_in(text: bytes) -> dict[str, Any] | None:
    """Return the record in a line; None if it isn't one of ours.

    Numbers that can't be (NaN, infinite, beyond any use, negative dollars) are None, attempts are mappings, and `at` is
    a number if it is there.
    """
    try:
        line: Any = json.loads(text, parse_constant=_nothing, parse_float=_float, parse_int=_int)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not isinstance(line.get("kind"), str):
        return None
    fields = cast("dict[str, Any]", line)
    if "at" in fields and not _is_number(fields["at"]):
        return None
    attempts: Any = fields.get("attempts")
    if "attempts" in fields:
        fields["attempts"] = [one for one in attempts if isinstance(one, dict)] if isinstance(attempts, list) else []
    attempt: Any = fields.get("attempt")
    if "attempt" in fields and not isinstance(attempt, dict):
        fields["attempt"] = {}
    for priced in (fields, fields.get("attempt", {}), *fields.get("attempts", ())):
        cost: Any = priced.get("cost_usd")
        if not _is_number(cost) or cost < 0:
            priced["cost_usd"] = None
    return fields


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nothing(text: str) -> None:
    del text


def _float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) and abs(number) <= _LARGEST else None


def _int(text: str) -> int | None:
    return int(text) if len(text) <= 16 and abs(int(text)) <= _LARGEST else None
