"""Which prompts begin alike, so that the beginning is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

__all__ = ["groups_by_prefix"]

_MIN_SHARED_TOKENS = 8
"""A shared beginning shorter than this isn't worth a pass of its own."""
_MIN_ROWS = 4
"""Rows that make it worth to split off a group with a longer beginning."""


def groups_by_prefix(prompts: Mapping[int, list[int]]) -> Iterator[tuple[list[int], int]]:
    """Yield groups of rows, and how many leading tokens the rows of each share; 0: not worth sharing.

    In sorted order, rows that begin alike are neighbours. A group ends where the next row would cut its shared
    beginning by more than half.

    Args:
        prompts: Token ids by row.
    """
    order = sorted(prompts, key=lambda row: prompts[row])
    start = 0
    while start < len(order):
        shared = len(prompts[order[start]])
        end = start + 1
        while end < len(order):
            length = _common_length(prompts[order[end - 1]], prompts[order[end]])
            if end - start >= _MIN_ROWS and 2 * length < shared:
                break
            shared = min(shared, length)
            end += 1
        rows = order[start:end]
        # Every prompt keeps at least one token of its own to continue from.
        shared = min(shared, min(len(prompts[row]) for row in rows) - 1)
        yield rows, shared if len(rows) > 1 and shared >= _MIN_SHARED_TOKENS else 0
        start = end


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length
