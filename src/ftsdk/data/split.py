"""Choosing rows: seeded, stratified, the same on every machine and with every version of Python."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from ftsdk.data.asked import answers_of, labels_of, loose_prompt_hashes, prompts_of
from ftsdk.data.duplicates.limits import may_be_long
from ftsdk.data.labels import are_labels, class_of
from ftsdk.data.row_keys import hash_of
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.table import Table, room_on_disk
from ftsdk.errors import DatasetError
from ftsdk.spec.amounts import shown_number
from ftsdk.spec.base import nearest

if TYPE_CHECKING:
    from ftsdk.data.dataset import Dataset
    from ftsdk.data.duplicates.hashed_words import Words

__all__ = [
    "ByColumn",
    "Splits",
    "choose",
    "groups_of",
    "shuffled",
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
    groups: Any | None,
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
        parts = " + ".join(f"{shown_number(count)} for {name}" for name, count in counts.items())
        there = "there is 1 row" if rows == 1 else f"there are {rows:,} rows"
        raise DatasetError(f"{parts} leave no row for train: {there}. Ask for less, or add rows.", source=source)
    *drawn, rest = choose(rows, list(counts.values()), seed, strata, groups)
    found = {**dict(zip(counts, drawn, strict=True)), "train": rest}
    if empty := [name for name, positions in found.items() if not positions]:
        raise DatasetError(
            f"{empty[0]} would be empty: the {rows} rows have {0 if groups is None else len(set(groups.tolist()))} "
            "distinct prompts or groups, and rows of one stay together.",
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
        spellings = labels_of(rows) if is_chat else Counter[str]()
        classes = class_of(spellings)
        counts: Counter[str] = Counter()
        for text, count in spellings.items():
            counts[classes[text]] += count
        is_labelled = are_labels(spellings, len(rows)) and len(counts) >= 2 and min(counts.values()) >= 2
        return tuple(classes[text] for text in answers_of(rows, "chat")) if is_labelled else None
    return tuple(str(value) for value in _column(table, stratify, "stratify", source))


def groups_of(
    rows: RowSequence,
    table: Table,
    group: ByColumn,
    *,
    format: Literal["table", "chat", "preference", "unpaired"],  # noqa: A002
    source: str | None,
    prompt_hashes: Callable[[], Any] | None = None,
    prompt_words: Callable[[], Words] | None = None,
) -> Any | None:
    """Return the group of each row: rows of one group stay in one part. A NumPy array of integers.

    Args:
        rows: The rows as they are now.
        table: The rows as they were read.
        group: `"auto"` groups equal rows and equal prompts (case and blanks don't count), and prompts that are
            near-duplicates. A column of the table also groups rows with the same value in it. None and False group
            nothing.
        format: What the rows are.
        source: The file, for errors.
        prompt_hashes: Returns `loose_prompt_hashes` of the rows, where they may be known already.
        prompt_words: Returns the words of the prompts likewise.

    Raises:
        DatasetError: There is no such column.
    """
    if group is None or group is False:
        return None
    # They load NumPy and pyarrow.
    import numpy

    from ftsdk.data.duplicates.components import Components
    from ftsdk.data.duplicates.near import split_clusters

    with room_on_disk(source):
        prompts = prompts_of(rows, format)
    keys = [loose_prompt_hashes(rows, format) if prompt_hashes is None else prompt_hashes()]
    if group != "auto":
        values = (hash_of(repr(value)) for value in _column(table, group, "group", source))
        keys.append(numpy.fromiter(values, dtype=numpy.uint64, count=len(rows)))
    components = Components(len(rows))
    for column in keys:
        _, first, inverse = numpy.unique(column, return_index=True, return_inverse=True)
        components.join(numpy.arange(len(rows)), first[inverse])
    clusters: Sequence[tuple[int, ...]] = ()
    if may_be_long(prompts):
        clusters = split_clusters(prompts if prompt_words is None else prompt_words())
    if clusters:
        components.join(
            numpy.concatenate([cluster[:-1] for cluster in clusters]),
            numpy.concatenate([cluster[1:] for cluster in clusters]),
        )
    return components.roots()


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


def shuffled(positions: Sequence[int], draw: random.Random) -> list[int]:
    """Return positions in a random order, which is the same with every version of Python."""
    # random() is the one method whose sequence Python promises to keep.
    keys = [draw.random() for _ in positions]
    return [positions[index] for index in sorted(range(len(positions)), key=keys.__getitem__)]


def _column(table: Table, column: str, parameter: str, source: str | None) -> Iterator[Any]:
    if column not in table.columns:
        raise DatasetError(
            f"{parameter}= names the column {column!r}, which doesn't exist{nearest(str(column), list(table.columns))}",
            source=source,
        )
    return table.column(column)


def choose(
    rows: int, sizes: Sequence[int], seed: int, strata: Sequence[str] | None, groups: Any | None = None
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
    import numpy

    # random() is the one method whose sequence Python promises to keep; shuffle() may change.
    order = numpy.argsort(draws(rows, seed), kind="stable")
    group = numpy.arange(rows) if groups is None else numpy.asarray(groups, dtype=numpy.int64)
    members = numpy.bincount(group, minlength=rows)  # of each group, by its first row
    classes = _by_class(order[members[order] > 0], strata)
    totals = {name: int(members[waiting].sum()) for name, waiting in classes.items()}
    left = dict(totals)
    parts: list[Any] = []
    for number, size in enumerate(sizes):
        # The parts to come and the rest need a group each.
        spare = sum(map(len, classes.values())) - (len(sizes) - number)
        taken = numpy.empty(0, dtype=numpy.int64)
        for name, count in _shares(size, rows, totals, left).items():
            found, classes[name] = _drawn(classes[name], members, count, spare - len(taken))
            taken = numpy.concatenate([taken, found])
        # Groups that don't fit into the share of their class leave a gap, which others may fill.
        for name in classes:
            gap = size - int(members[taken].sum())
            if gap <= 0:
                break
            found, classes[name] = _drawn(classes[name], members, gap, spare - len(taken))
            taken = numpy.concatenate([taken, found])
        if not len(taken) and spare > 0:
            taken = _smallest(classes, members)
        left = {name: int(members[waiting].sum()) for name, waiting in classes.items()}
        parts.append(taken)
    parts.append(numpy.concatenate([*classes.values()]) if classes else numpy.empty(0, dtype=numpy.int64))
    return [_rows_of(part, group) for part in parts]


def draws(rows: int, seed: int) -> Any:
    """Return what `random.Random(seed).random()` gives in so many calls, as a NumPy array."""
    import numpy

    # The same generator (MT19937) and the same 53 bits; a test holds the two equal.
    *key, position = random.Random(seed).getstate()[1]
    generator = numpy.random.RandomState()
    generator.set_state(("MT19937", numpy.asarray(key, dtype=numpy.uint32), position, 0, 0.0))
    return generator.random_sample(rows)


def _by_class(waiting: Any, strata: Sequence[str] | None) -> dict[str, Any]:
    """Return the first rows of groups by class, in the order drawn; classes by name, which no draw changes."""
    import numpy

    if not strata:
        return {"": waiting} if len(waiting) else {}
    names = sorted(set(strata))
    number = {name: n for n, name in enumerate(names)}
    codes = numpy.fromiter(map(number.__getitem__, strata), dtype=numpy.int64, count=len(strata))[waiting]
    order = numpy.argsort(codes, kind="stable")
    ends = numpy.searchsorted(codes[order], numpy.arange(1, len(names)))
    found = zip(names, numpy.split(waiting[order], ends), strict=True)
    return {name: firsts for name, firsts in found if len(firsts)}


def _drawn(waiting: Any, members: Any, rows: int, groups: int) -> tuple[Any, Any]:
    """Take groups from the front, with at most so many rows in all; those that don't fit stay for another part.

    Returns:
        The groups that were taken, and those that weren't.
    """
    import numpy

    is_taken = numpy.zeros(len(waiting), dtype=bool)
    sizes = members[waiting]
    start = 0
    while rows > 0 and groups > 0 and start < len(waiting):
        # Of those that would fit alone, all up to the first that no longer does.
        fitting = start + numpy.flatnonzero(sizes[start:] <= rows)
        count = min(int(numpy.searchsorted(numpy.cumsum(sizes[fitting]), rows, side="right")), groups)
        is_taken[fitting[:count]] = True
        rows -= int(sizes[fitting[:count]].sum())
        groups -= count
        if count == len(fitting):
            break
        start = int(fitting[count]) + 1
    return waiting[is_taken], waiting[~is_taken]


def _smallest(classes: dict[str, Any], members: Any) -> Any:
    """Take the smallest group that is left, for a part that would be empty otherwise."""
    import numpy

    name, first = min(
        ((name, first) for name, waiting in classes.items() for first in waiting.tolist()),
        key=lambda pair: (int(members[pair[1]]), pair),
    )
    classes[name] = classes[name][classes[name] != first]
    return numpy.asarray([first])


def _rows_of(firsts: Any, group: Any) -> tuple[int, ...]:
    """Return the rows of groups, ascending."""
    import numpy

    is_chosen = numpy.zeros(len(group), dtype=bool)
    is_chosen[firsts] = True
    return tuple(numpy.flatnonzero(is_chosen[group]).tolist())


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
            f"{name}={shown_number(size)} must be a fraction between 0 and 1 (0.1) or a number of rows (200).",
            source=source,
        )
    count = size if isinstance(size, int) else round(size * rows)
    if count == 0:
        raise DatasetError(
            f"{name}={shown_number(size)} of {rows} rows comes to none.",
            source=source,
            hint="Ask for a larger part, or for a number of rows.",
        )
    return count
