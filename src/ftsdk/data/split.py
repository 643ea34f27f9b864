"""Choosing rows: seeded, stratified, the same on every machine and with every version of Python."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ftsdk.data.table import Table
from ftsdk.errors import DatasetError
from ftsdk.spec.base import nearest

__all__ = ["MAX_CLASSES", "choose", "split_positions", "strata_of"]

MAX_CLASSES = 50
"""Completions with at most this many distinct texts are taken for class labels."""


def split_positions(
    rows: int, sizes: Mapping[str, float], seed: int, strata: Sequence[str] | None, *, source: str | None
) -> dict[str, tuple[int, ...]]:
    """Draw the parts of a split, and `train`, which is the rest.

    Args:
        rows: How many rows there are.
        sizes: For each part but `train`, a fraction (0.1) or a number of rows (200).
        seed: The same seed draws the same rows.
        strata: The class of each row; see `choose`.
        source: The file, for errors.

    Raises:
        DatasetError: No part is named, or a part or the rest would be empty.
    """
    if not sizes:
        raise DatasetError("split needs validation= or test=, such as validation=0.1.", source=source)
    counts = {name: _part_size(name, size, rows, source=source) for name, size in sizes.items()}
    if sum(counts.values()) >= rows:
        parts = " + ".join(f"{count} for {name}" for name, count in counts.items())
        raise DatasetError(f"{parts} leave none of the {rows} rows for train.", source=source)
    *drawn, rest = choose(rows, list(counts.values()), seed, strata)
    return {**dict(zip(counts, drawn, strict=True)), "train": rest}


def strata_of(
    rows: Sequence[Mapping[str, Any]],
    table: Table,
    stratify: str | Literal[False] | None,
    *,
    is_chat: bool,
    source: str | None,
) -> tuple[str, ...] | None:
    """Return the class of each row; None for plain draws.

    Args:
        rows: The rows as they are now.
        table: The rows as they were read.
        stratify: `"auto"` takes the completions of chat rows if they look like class labels: 2 to 50 distinct texts,
            each at least twice. Or a column of the table; None and False are plain draws.
        is_chat: Whether the rows are chat rows.
        source: The file, for errors.

    Raises:
        DatasetError: There is no such column.
    """
    if stratify is None or stratify is False:
        return None
    if stratify == "auto":
        completions = [row["messages"][-1]["content"] for row in rows] if is_chat else []
        counts = Counter(completions)
        return tuple(completions) if 2 <= len(counts) <= MAX_CLASSES and min(counts.values()) >= 2 else None
    if stratify not in table.columns:
        raise DatasetError(
            f"stratify= names the column {stratify!r}, and there is none{nearest(stratify, list(table.columns))}",
            source=source,
        )
    return tuple(str(row.get(stratify)) for row in table.rows)


def choose(rows: int, sizes: Sequence[int], seed: int, strata: Sequence[str] | None) -> list[tuple[int, ...]]:
    """Draw parts from `range(rows)`.

    Args:
        rows: How many rows there are.
        sizes: Rows per part; together at most `rows`.
        seed: The same seed draws the same rows.
        strata: For each row, its class: every part gets each class in proportion, to the nearest row. None: plain
            draws.

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


def _part_size(name: str, size: float, rows: int, *, source: str | None) -> int:
    """Return the number of rows of a part that was given as a fraction or a count."""
    is_number = isinstance(size, (int, float)) and not isinstance(size, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not is_number or size <= 0 or (isinstance(size, float) and size >= 1):
        raise DatasetError(
            f"{name}={size!r} must be a fraction between 0 and 1 (0.1) or a number of rows (200).", source=source
        )
    count = size if isinstance(size, int) else round(size * rows)
    if count == 0:
        raise DatasetError(
            f"{name}={size!r} of {rows} rows comes to none.",
            source=source,
            hint="Ask for a larger part, or for a number of rows.",
        )
    return count
