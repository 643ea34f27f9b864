"""A form of data: the columns it has, and how its rows become rows to train on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from ftsdk.data.canonical import RowMaker
from ftsdk.data.table import Table
from ftsdk.spec import DataFormat

__all__ = ["Form", "holds_messages", "is_empty", "sample_of"]

_SAMPLE = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """A form in which training data is published or exported.

    A new one is a module of this package and a line in its table.
    """

    name: str
    """What its users call it, such as `ShareGPT`."""
    format: DataFormat | None
    """What its rows become; None: they are recognised, and can't be trained on as they are."""
    needs: frozenset[str]
    """The columns that every such table has. Of two forms that fit, the one that needs more than the other wins."""
    reads: frozenset[str] = frozenset()
    """Further columns that it reads if they are there."""
    fits: Callable[[Table], bool]
    """Whether the values are what they are in this form. The columns in `needs` are there."""
    make: Callable[[Table, str | None], RowMaker] | None = None
    """Returns what makes canonical rows, given the table and the name of its source; with `format`."""
    call: str
    """What to call to read a table in this form, where another one fits too."""
    hint: Callable[[Table], str] | None = None
    """Returns why its rows can't be trained on, and what to call; without `format`. None: what a table needs."""


def sample_of(table: Table, column: str) -> list[Any]:
    """Return the first values of a column that aren't missing."""
    return [value for value in islice(table.column(column), _SAMPLE) if value is not None]


def holds_messages(values: Sequence[object]) -> bool:
    """Return whether values are lists of messages, with `role` or ShareGPT's `from`; at least one."""
    return bool(values) and all(
        isinstance(value, (list, tuple))
        and bool(cast("Sequence[object]", value))
        and all(
            isinstance(item, Mapping) and ("role" in item or "from" in item) for item in cast("Sequence[object]", value)
        )
        for value in values
    )


def is_empty(value: object) -> bool:
    """Return whether a value says nothing: missing, or a text, list or object without content."""
    if value is None or value != value:  # NaN
        return True
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, (list, tuple, dict)) and not value
