"""Canaries among the rows of a dataset, and their record."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from ftsdk._format import printable
from ftsdk.data.argument_checks import checked_whole
from ftsdk.data.growing.canaries import Canary, canaries
from ftsdk.data.steps import CanaryStep
from ftsdk.data.table import Table, table_of
from ftsdk.errors import DatasetError
from ftsdk.spec.amounts import shown_number

if TYPE_CHECKING:
    from ftsdk.data.rows import Rows

__all__ = ["checked_times", "planted", "planted_canaries", "planted_positions"]

_MOST_ROWS = 1_000_000


def planted(step: CanaryStep, *, format: Literal["table", "chat", "preference", "unpaired"], source: str) -> Table:  # noqa: A002
    """Return the rows of canaries, each as often as its record says.

    Raises:
        DatasetError: They can't be planted among rows of this format, or the arguments are out of range.
    """
    if format != "chat":
        raise DatasetError(
            f"canaries are chat rows, and these are {format} rows.",
            source=source,
            hint="Shape a table with as_chat(...) first." if format == "table" else None,
        )
    checked_times(step.n, step.times, source=source)
    rows = [{"prompt": one.prompt, "completion": one.secret} for one in _of(step) for _ in range(one.times)]
    return table_of(enumerate(rows, start=1), source="canaries")


def checked_times(n: object, times: object, *, source: str) -> tuple[int, ...]:
    """Return how often each of `n` canaries is repeated.

    Raises:
        DatasetError: `n` or `times` is out of range, or it comes to more rows than anybody plants.
    """
    count = checked_whole("n", n, at_least=1, at_most=_MOST_ROWS, source=source)
    if not isinstance(times, Iterable) or isinstance(times, str | bytes) or not (given := tuple(times)):
        raise DatasetError(
            f"times={shown_number(times)} isn't a list of numbers.",
            source=source,
            hint="Pass such as times=(1, 4, 16), or leave it out for one of each.",
        )
    found = tuple(checked_whole("times", one, at_least=1, at_most=_MOST_ROWS, source=source) for one in given)
    rows = count // len(found) * sum(found) + sum(found[: count % len(found)])
    if rows > _MOST_ROWS:
        raise DatasetError(
            f"n={count:,} and times={printable(str(found), 50)} come to {rows:,} rows of canaries.",
            source=source,
            hint=f"Plant at most {_MOST_ROWS:,} rows.",
        )
    return found


def planted_positions(rows: int, planted: int, seed: int) -> tuple[int, ...]:
    """Return the order of rows and planted ones: the rows keep theirs, and the planted ones stand anywhere.

    Args:
        rows: How many rows there are; the planted ones follow them.
        planted: How many are planted.
        seed: Decides where.
    """
    draw = random.Random(f"ftsdk planted {seed}")
    slots = sorted((int(draw.random() * (rows + 1)), rows + number) for number in range(planted))
    order: list[int] = []
    before = 0
    for slot, position in slots:
        order += [*range(before, slot), position]
        before = slot
    return (*order, *range(before, rows))


def planted_canaries(dataset: Rows) -> tuple[Canary, ...]:
    """Return the canaries of a dataset by its lineage."""
    return tuple(canary for entry in dataset.lineage for canary in _in(entry))


def _in(entry: Mapping[str, Any]) -> list[Canary]:
    found = [
        one
        for part in cast("list[list[Mapping[str, Any]]]", entry.get("concat", []))
        for own in part
        for one in _in(own)
    ]
    if "canaries" in entry:
        found += _of(CanaryStep.from_dict(entry["canaries"]))
    return found


def _of(step: CanaryStep) -> list[Canary]:
    return canaries(step.n, step.seed, times=step.times)
