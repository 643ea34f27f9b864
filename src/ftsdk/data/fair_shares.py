"""Rows of an optimizer step for processes that wait for each other: each gets as many, and as much to compute. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ftsdk.data.forest import SAVED_AT_LEAST, common_beginnings

__all__ = ["shared_out"]

_MOST_SWAPS = 64
_FAIR = 1.02
"""The heaviest share over the mean of all: what is gained below that isn't worth the search."""


def shared_out(rows: Sequence[list[int]], shares: int, *, besides: Sequence[int] | None = None) -> list[list[int]]:
    """Return the rows of each process: neighbours in their order, exchanged until none has much more to compute.

    Args:
        rows: Token ids; as many as a multiple of `shares`.
        shares: Processes.
        besides: Tokens of each row that come on top and are shared with no other row; None: none.

    Returns:
        For each process the indices of its rows, in the order of their tokens.
    """
    order = sorted(range(len(rows)), key=lambda n: rows[n])
    each = len(rows) // shares
    found = [list(range(n * each, (n + 1) * each)) for n in range(shares)]
    if shares > 1:
        own = [0] * len(rows) if besides is None else besides
        _exchange(found, [len(rows[n]) + own[n] for n in order], common_beginnings([rows[n] for n in order]))
    return [[order[place] for place in share] for share in found]


def _exchange(found: list[list[int]], lengths: list[int], common: list[int]) -> None:
    """Exchange rows of the heaviest share and the lightest, in place, while that makes the heavier of both lighter.

    Args:
        found: For each share the places of its rows in the order of their tokens.
        lengths: Of the rows in that order.
        common: What each has in common with the one before.
    """

    def tokens(share: Sequence[int]) -> int:
        total = sum(lengths[place] for place in share)
        for before, after in itertools.pairwise(share):
            # Rows in order have in common what all between them have.
            shared = min(common[before + 1 : after + 1])
            total -= shared if shared >= SAVED_AT_LEAST else 0
        return total

    weights = [tokens(share) for share in found]
    for _ in range(_MOST_SWAPS):
        heavy, light = weights.index(max(weights)), weights.index(min(weights))
        if weights[heavy] <= _FAIR * sum(weights) / len(weights):
            return
        best = (weights[heavy], found[heavy], found[light])
        for given in found[heavy]:
            for taken in found[light]:
                if lengths[given] <= lengths[taken] and common[given] >= common[taken]:
                    continue
                one = sorted([*(place for place in found[heavy] if place != given), taken])
                other = sorted([*(place for place in found[light] if place != taken), given])
                best = min(best, (max(tokens(one), tokens(other)), one, other))
        if best[0] >= weights[heavy]:
            return
        _, found[heavy], found[light] = best
        weights[heavy], weights[light] = tokens(found[heavy]), tokens(found[light])
