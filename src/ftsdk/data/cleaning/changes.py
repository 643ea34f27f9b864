"""The rows that were changed: as they were, as they are, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

from ftsdk.data.location import Location
from ftsdk.data.row_sequence import RowSequence

__all__ = ["ChangedRow", "ChangedRows", "Changes"]


class ChangedRow(NamedTuple):
    """A row that was changed, and why."""

    source: str | None
    """The file or hub id; None for rows from memory."""
    line: int
    """The line of the row in a text file; elsewhere its number. Both count from 1."""
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """The rows that one step changed, in Arrow."""

    before: RowSequence
    after: RowSequence
    places: Sequence[Location]
    reasons: Sequence[str]

    def at(self, index: int) -> ChangedRow:
        """Return one of the rows."""
        where = self.places[index]
        return ChangedRow(where.source, where.line, self.reasons[index], self.before[index], self.after[index])


class ChangedRows(Sequence[ChangedRow]):
    """Changed rows. Each look at one makes a new object of it, so that many of them need little memory."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Sequence[Changes] = ()) -> None:
        """Hold the changes of some steps, one after the other."""
        self._steps = tuple(steps)

    def __len__(self) -> int:
        return sum(len(step.reasons) for step in self._steps)

    @overload
    def __getitem__(self, index: int) -> ChangedRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[ChangedRow]: ...
    def __getitem__(self, index: int | slice) -> ChangedRow | list[ChangedRow]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if position >= 0:
            for step in self._steps:
                if position < len(step.reasons):
                    return step.at(position)
                position -= len(step.reasons)
        raise IndexError(f"row {index} of {len(self):,} changed rows")

    def __iter__(self) -> Iterator[ChangedRow]:
        for step in self._steps:
            rows = zip(step.places, step.reasons, step.before, step.after, strict=True)
            for where, reason, before, after in rows:
                yield ChangedRow(where.source, where.line, reason, before, after)

    def __add__(self, other: ChangedRows) -> ChangedRows:
        return ChangedRows((*self._steps, *other._steps))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} changed rows>"
