"""Leaks that were found, kept beside the stored rows: a later process needn't compare the same rows again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from ftsdk._files import read_regular_file, replace_file
from ftsdk._home import home
from ftsdk.data.duplicates.leaks import KINDS, Leak

__all__ = ["keep_leaks", "kept_leaks"]

_RULE = 1
"""Raise it when something else counts as a leak: what an earlier rule found isn't read then."""
_MOST_BYTES = 256 << 20


def kept_leaks(judged: str, learned: str, sizes: tuple[int, int]) -> tuple[Leak, ...] | None:
    """Return the leaks that were kept for two sets of rows; None if there are none, or if the file isn't whole.

    Args:
        judged: Fingerprint of the rows that are judged by.
        learned: Fingerprint of the rows that are learned from.
        sizes: How many rows either has.
    """
    try:
        content = read_regular_file(_path(judged, learned), most_bytes=_MOST_BYTES)
        head, _, body = content.partition(b"\n")
        if head != _head(judged, learned, body):
            return None
        return tuple(_read(entry, sizes) for entry in json.loads(body))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def keep_leaks(judged: str, learned: str, leaks: Sequence[Leak]) -> None:
    """Keep the leaks of two sets of rows, if the folder can be written to."""
    body = json.dumps(leaks).encode()
    try:
        replace_file(_path(judged, learned), _head(judged, learned, body) + b"\n" + body)
    except OSError:  # they are found again
        return


def _path(judged: str, learned: str) -> Path:
    return home() / "data" / "leaks" / f"{judged}-{learned}.json"


def _head(judged: str, learned: str, body: bytes) -> bytes:
    said = {"rule": _RULE, "judged": judged, "learned": learned, "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(said).encode()


def _read(entry: Any, sizes: tuple[int, int]) -> Leak:
    leak = Leak(*cast("tuple[Any, Any, Any, Any]", entry))
    rows = zip((leak.position, leak.other), sizes, strict=True)
    if leak.kind not in KINDS or not all(type(row) is int and 0 <= row < size for row, size in rows):
        raise ValueError("not a leak of these rows")
    return leak._replace(similarity=float(leak.similarity))
