"""Choosing rows: seeded, stratified, the same on every machine and with every version of Python."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from ftsdk.data.duplicates.limits import may_be_long
from ftsdk.data.labels import are_labels, class_of, label_counts
from ftsdk.data.message_rows import last_contents
from ftsdk.data.row_keys import hash_of, loose_prompt_hash, prompt_text
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.table import Table, room_on_disk
from ftsdk.data.text_column import TextColumn
from ftsdk.errors import DatasetError
from ftsdk.spec.base import nearest

if TYPE_CHECKING:
    from ftsdk.data.dataset import Dataset

__all__ = [
    "ByColumn",
    "Splits",
    "checked_count",
    "choose",
    "groups_of",
    "slice_positions",
    "split_positions",
    "strata_of",
]

ByColumn = str | Literal[False] | None
"""`"auto"`, the name of a column, or None or False for neither."""

_Validation_co = TypeVar("_Validation_co", covariant=True)
_Test_co = TypeVar("_Test_co", covariant=True)


class Splits(NamedTuple, Generic[_Validation_co, _Test_co]):
    """The parts of a dataset. A part without a size is None."""

    train: Dataset
    validation: _Validation_co
    test: _Test_co


def split_positions(
    rows: int,
    sizes: Mapping[str, float],
    seed: int,
    strata: Sequence[str] | None,
    groups: Sequence[int] | None,
    *,
    source: str | None,
) -> dict[str, tuple[int, ...]]:
    """Draw the parts of a split, and `train`, which is the rest.

    Args:
        rows: How many rows there are.
        sizes: For each part but `train`, a fraction (0.1) or a number of rows (200).
        seed: The same seed draws the same rows.
        strata: The class of each row; see `choose`.
        groups: The group of each row; see `choose`.
        source: The file, for errors.

    Raises:
        DatasetError: No part is named, or a part or the rest would be empty.
    """
    if not sizes:
        raise DatasetError("split needs validation= or test=, such as validation=0.1.", source=source)
    counts = {name: _part_size(name, size, rows, source=source) for name, size in sizes.items()}
    if sum(counts.values()) >= rows:
        parts = " + ".join(f"{count} for {name}" for name, count in counts.items())
        there = "there is 1 row" if rows == 1 else f"there are {rows:,} rows"
        raise DatasetError(f"{parts} leave no row for train: {there}. Ask for less, or add rows.", source=source)
    *drawn, rest = choose(rows, list(counts.values()), seed, strata, groups)
    found = {**dict(zip(counts, drawn, strict=True)), "train": rest}
    if empty := [name for name, positions in found.items() if not positions]:
        raise DatasetError(
            f"{empty[0]} would be empty: the {rows} rows have {len(set(groups or ()))} distinct prompts or groups, and "
            "rows of one stay together.",
            source=source,
            hint="Ask for other sizes, or pass group=None if the same prompt may be in two parts.",
        )
    return found


def strata_of(
    rows: RowSequence,
    table: Table,
    stratify: ByColumn,
    *,
    is_chat: bool,
    source: str | None,
) -> tuple[str, ...] | None:
    """Return the class of each row; None for plain draws.

    Args:
        rows: The rows as they are now.
        table: The rows as they were read.
        stratify: `"auto"` takes the completions of chat rows if they look like class labels (`are_labels`), and there
            are two or more, each at least twice. Or a column of the table; None and False are plain
            draws.
        is_chat: Whether the rows are chat rows.
        source: The file, for errors.

    Raises:
        DatasetError: There is no such column.
    """
    if stratify is None or stratify is False:
        return None
    if stratify == "auto":
        spellings = label_counts(last_contents(rows, "messages")) if is_chat else Counter[str]()
        classes = class_of(spellings)
        counts: Counter[str] = Counter()
        for text, count in spellings.items():
            counts[classes[text]] += count
        is_labelled = are_labels(spellings, len(rows)) and len(counts) >= 2 and min(counts.values()) >= 2
        return tuple(classes[text] for text in last_contents(rows, "messages")) if is_labelled else None
    return tuple(str(value) for value in _column(table, stratify, "stratify", source))


def groups_of(
    rows: Sequence[Mapping[str, Any]],
    table: Table,
    group: ByColumn,
    *,
    format: Literal["table", "chat", "preference"],  # noqa: A002
    source: str | None,
) -> list[int] | None:
    """Return the group of each row: rows of one group stay in one part.

    Args:
        rows: The rows as they are now.
        table: The rows as they were read.
        group: `"auto"` groups equal rows and equal prompts (case and blanks don't count), and prompts that are
            near-duplicates. A column of the table also groups rows with the same value in it. None and False group
            nothing.
        format: What the rows are.
        source: The file, for errors.

    Raises:
        DatasetError: There is no such column.
    """
    if group is None or group is False:
        return None
    # They load NumPy and pyarrow.
    import numpy

    from ftsdk.data.duplicates.components import Components
    from ftsdk.data.duplicates.near import split_clusters

    keys: list[int] = []
    is_long = False

    def texts() -> Iterator[str]:
        nonlocal is_long
        for row in rows:
            text = prompt_text(row, format)
            keys.append(loose_prompt_hash(row, format))
            is_long = is_long or may_be_long((text,))
            yield text

    with room_on_disk(source):
        prompts = TextColumn(texts())
    columns = [keys]
    if group != "auto":
        columns.append([hash_of(repr(value)) for value in _column(table, group, "group", source)])
    components = Components(len(keys))
    for column in columns:
        _, first, inverse = numpy.unique(
            numpy.asarray(column, dtype=numpy.uint64), return_index=True, return_inverse=True
        )
        components.join(numpy.arange(len(keys)), first[inverse])
    for cluster in split_clusters(prompts) if is_long else ():
        components.join(numpy.asarray(cluster[:-1]), numpy.asarray(cluster[1:]))
    return components.roots().tolist()


def slice_positions(index: slice, rows: int, *, source: str | None) -> tuple[int, ...]:
    """Return the positions in a slice of so many rows.

    Raises:
        DatasetError: It has none.
    """
    positions = tuple(range(*index.indices(rows)))
    if not positions:
        raise DatasetError(
            f"the slice {index.start}:{index.stop}:{index.step} has none of the {rows} rows.", source=source
        )
    return positions


def checked_count(n: int, rows: int, *, source: str | None) -> int:
    """Return a number of rows to take.

    Raises:
        DatasetError: There are fewer, or it is below 1.
    """
    if not isinstance(n, int) or not 1 <= n <= rows:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DatasetError(
            f"can't take {n!r} of {rows} rows.", source=source, hint=f"Pass a whole number from 1 to {rows}."
        )
    return n


def _column(table: Table, column: str, parameter: str, source: str | None) -> Iterator[Any]:
    if column not in table.columns:
        raise DatasetError(
            f"{parameter}= names the column {column!r}, which doesn't exist{nearest(str(column), list(table.columns))}",
            source=source,
        )
    return table.column(column)


def choose(
    rows: int, sizes: Sequence[int], seed: int, strata: Sequence[str] | None, groups: Sequence[int] | None = None
) -> list[tuple[int, ...]]:
    """Draw parts from `range(rows)`.

    Args:
        rows: How many rows there are.
        sizes: Rows per part; together at most `rows`.
        seed: The same seed draws the same rows.
        strata: For each row, its class: every part gets each class in proportion, to the nearest row. None: plain
            draws.
        groups: For each row, its group, named by the position of its first row: a group is drawn whole, with the class
            of its first row, and parts are as near to their sizes as that allows. None: each row alone.

    Returns:
        The positions of each part, then those of the rest, each in ascending order. No position is in two of them.
    """
    # random() is the one method whose sequence Python promises to keep; shuffle() may change.
    draw = random.Random(seed)
    order = sorted(range(rows), key=[draw.random() for _ in range(rows)].__getitem__)
    members: dict[int, list[int]] = {}
    for position in range(rows):
        members.setdefault(position if groups is None else groups[position], []).append(position)
    classes: dict[str, list[int]] = {}
    for position in order:
        if position in members:
            classes.setdefault("" if strata is None else strata[position], []).append(position)
    names = sorted(classes)  # not in order of first appearance, which depends on the draw
    totals = {name: sum(len(members[first]) for first in classes[name]) for name in names}
    left = dict(totals)
    parts: list[list[int]] = []
    for number, size in enumerate(sizes):
        # The parts to come and the rest need a group each.
        spare = sum(map(len, classes.values())) - (len(sizes) - number)
        taken: list[int] = []
        for name, count in _shares(size, rows, totals, left).items():
            taken += _drawn(classes[name], members, count, spare - len(taken))
        # Groups that don't fit into the share of their class leave a gap, which others may fill.
        for name in names:
            gap = size - sum(len(members[first]) for first in taken)
            taken += _drawn(classes[name], members, gap, spare - len(taken))
        if not taken and spare > 0:
            taken = [_smallest(classes, members)]
        part = [position for first in taken for position in members[first]]
        left = {name: sum(len(members[first]) for first in classes[name]) for name in names}
        parts.append(part)
    parts.append([position for name in names for first in classes[name] for position in members[first]])
    return [tuple(sorted(part)) for part in parts]


def _drawn(waiting: list[int], members: Mapping[int, Sequence[int]], rows: int, groups: int) -> list[int]:
    """Take groups from the front, with at most so many rows in all; those that don't fit stay for another part."""
    found: list[int] = []
    kept: list[int] = []
    for number, first in enumerate(waiting):
        if rows <= 0 or len(found) >= groups:
            kept += waiting[number:]
            break
        if len(members[first]) <= rows:
            found.append(first)
            rows -= len(members[first])
        else:
            kept.append(first)
    waiting[:] = kept
    return found


def _smallest(classes: Mapping[str, list[int]], members: Mapping[int, Sequence[int]]) -> int:
    """Take the smallest group that is left, for a part that would be empty otherwise."""
    name, first = min(
        ((name, first) for name, waiting in classes.items() for first in waiting),
        key=lambda pair: (len(members[pair[1]]), pair),
    )
    classes[name].remove(first)
    return first


def _shares(size: int, rows: int, totals: dict[str, int], left: dict[str, int]) -> dict[str, int]:
    """Share out `size` rows over classes in proportion, by largest remainder, never more than a class has left."""
    shares = {name: min(size * total // rows, left[name]) for name, total in totals.items()}
    by_remainder = sorted(totals, key=lambda name: (-(size * totals[name] % rows), -totals[name], name))
    while (missing := size - sum(shares.values())) > 0:
        open_classes = [name for name in by_remainder if shares[name] < left[name]]
        if not open_classes:
            break
        for name in open_classes[:missing]:
            shares[name] += 1
    return shares


def _part_size(name: str, size: float, rows: int, *, source: str | None) -> int:
    """Return the number of rows of a part that was given as a fraction or a count."""
    is_number = isinstance(size, (int, float)) and not isinstance(size, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    # NaN is neither above 0 nor below it, so that only what is inside may pass.
    if not is_number or not size > 0 or (isinstance(size, float) and size >= 1):
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
