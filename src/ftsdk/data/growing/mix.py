"""Which rows of which part a mix has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate
from math import floor, isfinite

from ftsdk.data.argument_checks import checked_whole
from ftsdk.data.split import shuffled
from ftsdk.data.steps import MixStep
from ftsdk.errors import DatasetError

__all__ = ["MOST_ROWS", "mixed_positions"]

MOST_ROWS = 100_000_000
"""Of a mix that may repeat rows."""
_CLOSE = 1e-6


def mixed_positions(parts: Sequence[tuple[str, int]], step: MixStep) -> tuple[int, ...]:
    """Return positions in the rows of the parts, one part after the other.

    Args:
        parts: Name and number of rows of each.
        step: The shares, and how many rows.

    Raises:
        DatasetError: The shares aren't a mix, or a part has too few rows.
    """
    counts = _counts(parts, step)
    draw = random.Random(step.seed)
    chosen: list[int] = []
    starts = accumulate((rows for _, rows in parts), initial=0)
    for (name, rows), count, start in zip(parts, counts, starts, strict=False):
        if count > rows and not step.repeat:
            raise DatasetError(
                f"the mix needs {count:,} rows of {name!r}, which has {rows:,}.",
                hint="Ask for fewer rows or a smaller share, or pass repeat=True for rows that appear more than once.",
            )
        whole, rest = divmod(count, rows)
        chosen += [*range(start, start + rows)] * whole
        chosen += sorted(shuffled(range(start, start + rows), draw)[:rest])
    return tuple(shuffled(chosen, draw))


def _counts(parts: Sequence[tuple[str, int]], step: MixStep) -> list[int]:
    shares = step.shares
    if any(not isfinite(share) or share <= 0 for share in shares) or abs(sum(shares) - 1) > _CLOSE:
        raise DatasetError(
            f"the shares of a mix are above 0 and sum to 1; these are {', '.join(map(str, shares))}, which sum to "
            f"{sum(shares):g}."
        )
    total = step.rows
    if total is None:
        total = max(1, floor(min(rows / share for (_, rows), share in zip(parts, shares, strict=True)) + _CLOSE))
    total = checked_whole("rows", total, at_least=1, at_most=MOST_ROWS)
    exact = [share * total for share in shares]
    counts = [floor(share + _CLOSE) for share in exact]
    # What rounding left over goes to the largest remainders.
    order = sorted(range(len(exact)), key=lambda part: (counts[part] - exact[part], part))
    for part in order[: total - sum(counts)]:
        counts[part] += 1
    if step.rows is None:  # rounding may ask for one row more than a part has
        counts = [min(count, rows) for count, (_, rows) in zip(counts, parts, strict=True)]
    for count, (name, _) in zip(counts, parts, strict=True):
        if count == 0:
            raise DatasetError(
                f"a mix of {total:,} rows has none of {name!r}.", hint="Ask for more rows, or give it a larger share."
            )
    return counts
