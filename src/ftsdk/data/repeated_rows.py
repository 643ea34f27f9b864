"""Rows that are the same."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from ftsdk.data.duplicates.exact import exact_duplicates
from ftsdk.data.message_columns import has_plain_messages
from ftsdk.data.message_rows import line_blocks
from ftsdk.data.row_keys import Format, row_key
from ftsdk.data.row_sequence import RowSequence

__all__ = ["different_rows", "repeated_rows"]


def repeated_rows(
    rows: Sequence[dict[str, Any]],
    format: Format,  # noqa: A002
    *,
    among: Any = None,
) -> tuple[tuple[int, ...], ...]:
    """Return the groups of equal rows, by position, in the order of their first rows.

    Texts are compared in Unicode's composed form (NFC), calls without their ids, which are random.

    Args:
        rows: The rows.
        format: What they are, as `Dataset.format`.
        among: Positions outside of which no row with plain messages is repeated, a NumPy array; None: not known.
    """
    if format == "table" or not isinstance(rows, RowSequence) or not all(map(has_plain_messages, rows.batches())):
        return exact_duplicates(repr(row_key(row, format)) for row in rows)
    first: dict[bytes, int] = {}
    groups: dict[int, list[int]] = {}
    positions = range(len(rows)) if among is None else among.tolist()
    for position, key in zip(positions, _keys(rows if among is None else rows.at(among)), strict=True):
        leader = first.setdefault(key, position)
        if leader != position:
            groups.setdefault(leader, [leader]).append(position)
    return tuple(tuple(groups[leader]) for leader in sorted(groups))


def different_rows(rows: Sequence[dict[str, Any]], format: Format) -> int:  # noqa: A002
    """Return how many different rows there are: one of each group, and those in none."""
    if format == "table" or not isinstance(rows, RowSequence) or not all(map(has_plain_messages, rows.batches())):
        return len(rows) - sum(len(group) - 1 for group in repeated_rows(rows, format))
    return len(set(map(hash, _lines(rows))))


def _keys(rows: RowSequence) -> Iterator[bytes]:
    return (hashlib.blake2b(line, digest_size=16).digest() for line in _lines(rows))


def _lines(rows: RowSequence) -> Iterator[bytes]:
    for block in line_blocks(rows):
        lines = block.split(b"\n")[:-1]
        if not block.isascii():
            lines = [line if line.isascii() else unicodedata.normalize("NFC", line.decode()).encode() for line in lines]
        yield from lines
