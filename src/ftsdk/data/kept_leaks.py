"""Leaks that were found, kept beside the stored rows: a later process needn't compare the same rows again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from ftsdk.data.duplicates.leaks import KINDS, Leak
from ftsdk.data.kept_results import keep_result, kept_result

__all__ = ["keep_leaks", "kept_leaks"]

_RULE = "2"
"""Raise it when something else counts as a leak: what an earlier rule found isn't read then."""
_FOLDER = "leaks"


def kept_leaks(judged: str, learned: str, sizes: tuple[int, int]) -> tuple[Leak, ...] | None:
    """Return the leaks that were kept for two sets of rows; None if there are none, or if the file isn't whole.

    Args:
        judged: Fingerprint of the rows that are judged by.
        learned: Fingerprint of the rows that are learned from.
        sizes: How many rows either has.
    """
    body = kept_result(_FOLDER, _name(judged, learned), _RULE)
    if body is None:
        return None
    try:
        return tuple(_read(entry, sizes) for entry in json.loads(body))
    except (ValueError, TypeError, RecursionError):
        return None


def keep_leaks(judged: str, learned: str, leaks: Sequence[Leak]) -> None:
    """Keep the leaks of two sets of rows, if the folder can be written to."""
    keep_result(_FOLDER, _name(judged, learned), _RULE, json.dumps(leaks).encode())


def _name(judged: str, learned: str) -> str:
    return f"{judged}-{learned}.json"


def _read(entry: Any, sizes: tuple[int, int]) -> Leak:
    leak = Leak(*cast("tuple[Any, Any, Any, Any]", entry))
    rows = zip((leak.position, leak.other), sizes, strict=True)
    if leak.kind not in KINDS or not all(type(row) is int and 0 <= row < size for row, size in rows):
        raise ValueError("not a leak of these rows")
    return leak._replace(similarity=float(leak.similarity))
