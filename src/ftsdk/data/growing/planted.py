"""Canaries among the rows of a dataset, and their record."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from ftsdk.data.growing.canaries import Canary, canaries
from ftsdk.data.steps import CanaryStep
from ftsdk.data.table import Table, table_of
from ftsdk.errors import DatasetError

if TYPE_CHECKING:
    from ftsdk.data.rows import Rows

__all__ = ["planted", "planted_canaries", "planted_positions"]


def planted(step: CanaryStep, *, format: Literal["table", "chat", "preference"], source: str) -> Table:  # noqa: A002
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
    if step.n < 1 or min(step.times) < 1:
        raise DatasetError(f"n={step.n} and times={step.times} must be at least 1.", source=source)
    rows = [{"prompt": one.prompt, "completion": one.secret} for one in _of(step) for _ in range(one.times)]
    return table_of(enumerate(rows, start=1), source="canaries")


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
