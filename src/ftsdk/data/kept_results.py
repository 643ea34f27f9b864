"""What was found out about large data, kept in ftsdk's home: a later process needn't find it out again."""

from __future__ import annotations

import hashlib
import json

from ftsdk._files import read_regular_file, replace_file
from ftsdk._home import home

__all__ = ["KEPT_FROM", "keep_result", "kept_result"]

KEPT_FROM = 10_000
"""Rows from which on results are kept; for fewer, they are found in less than a second."""
_MOST_BYTES = 256 << 20


def kept_result(folder: str, name: str, rule: str) -> bytes | None:
    """Return a result that was kept; None if there is none, if it is of another rule, or if the file isn't whole.

    Args:
        folder: A folder of `data` in ftsdk's home.
        name: The file: fingerprints of the rows that the result depends on.
        rule: How it was found.
    """
    try:
        content = read_regular_file(home() / "data" / folder / name, most_bytes=_MOST_BYTES)
    except (OSError, ValueError):
        return None
    head, _, body = content.partition(b"\n")
    return body if head == _head(name, rule, body) else None


def keep_result(folder: str, name: str, rule: str, body: bytes) -> None:
    """Keep a result, if the folder can be written to; see `kept_result`."""
    try:
        replace_file(home() / "data" / folder / name, _head(name, rule, body) + b"\n" + body)
    except OSError:  # it is found again
        return


def _head(name: str, rule: str, body: bytes) -> bytes:
    return json.dumps({"rule": rule, "of": name, "sha256": hashlib.sha256(body).hexdigest()}).encode()
