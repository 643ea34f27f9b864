"""Choosing rows: seeded, stratified, the same on every machine and with every version of Python."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from ftsdk.errors import DatasetError

__all__ = ["MAX_CLASSES", "auto_strata", "choose", "part_size"]

MAX_CLASSES = 50
"""Completions with at most this many distinct texts are taken for class labels."""


def part_size(name: str, asked: int | float, rows: int, *, source: str | None = None) -> int:
    """Turn a fraction or a count into a number of rows.

    Args:
        name: The part, for errors.
        asked: A fraction between 0 and 1, or a number of rows.
        rows: How many rows there are.
        source: The file, for errors.

    Raises:
        DatasetError: It is neither, or comes to no row, or to more than there are.
    """
    is_number = isinstance(asked, (int, float)) and not isinstance(asked, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not is_number or asked <= 0 or (isinstance(asked, float) and asked >= 1):
        raise DatasetError(f"{name}={asked!r} must be a fraction between 0 and 1 (0.1) or a number of rows (200).", source=source)
    size = asked if isinstance(asked, int) else round(asked * rows)
    if size == 0:
        raise DatasetError(f"{name}={asked!r} of {rows} rows comes to none.", source=source, hint="Ask for a larger part, or for a number of rows.")
    return size


def auto_strata(completions: Sequence[str]) -> tuple[str, ...] | None:
    """Take completions for class labels if they look like it: 2 to 50 distinct texts, each at least twice."""
    counts = Counter(completions)
    if 2 <= len(counts) <= MAX_CLASSES and min(counts.values()) >= 2:
        return tuple(completions)
    return None


def choose(rows: int, sizes: Sequence[int], seed: int, strata: Sequence[str] | None) -> list[tuple[int, ...]]:
    """Draw parts from `range(rows)`.

    Args:
        rows: How many rows there are.
        sizes: Rows per part; together at most `rows`.
        seed: The same seed draws the same rows.
        strata: For each row, its class: every part gets each class in proportion, to the nearest row. None: plain draws.

    Returns:
        The positions of each part, then those of the rest, each in ascending order. No position is in two of them.
    """
    # random() is the one method whose sequence Python promises to keep; shuffle() may change.
    draw = random.Random(seed)
    order = sorted(range(rows), key=[draw.random() for _ in range(rows)].__getitem__)
    classes: dict[str, list[int]] = {}
    for position in order:
        classes.setdefault("" if strata is None else strata[position], []).append(position)
    names = sorted(classes)  # not in order of first appearance, which depends on the draw
    totals = {name: len(classes[name]) for name in names}
    taken = dict.fromkeys(names, 0)
    parts: list[list[int]] = []
    for size in sizes:
        part: list[int] = []
        for name, count in _shares(size, rows, totals, taken).items():
            part += classes[name][taken[name] : taken[name] + count]
            taken[name] += count
        parts.append(part)
    parts.append([position for name in names for position in classes[name][taken[name] :]])
    return [tuple(sorted(part)) for part in parts]


def _shares(size: int, rows: int, totals: dict[str, int], taken: dict[str, int]) -> dict[str, int]:
    """Share out `size` rows over classes in proportion, by largest remainder, never more than a class has left."""
    shares = {name: min(size * total // rows, total - taken[name]) for name, total in totals.items()}
    by_remainder = sorted(totals, key=lambda name: (-(size * totals[name] % rows), -totals[name], name))
    while (missing := size - sum(shares.values())) > 0:
        open_classes = [name for name in by_remainder if shares[name] < totals[name] - taken[name]]
        for name in open_classes[:missing]:
            shares[name] += 1
    return shares
