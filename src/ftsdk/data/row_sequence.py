"""Rows that become Python when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from ftsdk.data.batches import MISSING, Batch, Batches, Positions

__all__ = ["RowSequence"]

Row = dict[str, Any]


class RowSequence(Sequence[Row]):
    """Rows in Arrow. Each look makes new Python objects: what a caller changes reaches nobody else."""

    __slots__ = ("_batches", "_positions", "_values")

    def __init__(
        self,
        batches: Sequence[Batch] | Batches,
        values: Callable[[Any], Sequence[Any]],
        positions: Positions | None = None,
    ) -> None:
        """Hold the rows at some positions of the batches.

        Args:
            batches: Where they are.
            values: What makes Python values of a column. `MISSING` among them stands for a row that lacks the column.
            positions: Which of the rows, in this order; None: all.
        """
        self._batches = batches if isinstance(batches, Batches) else Batches(batches)
        self._values = values
        self._positions: Positions = range(len(self._batches)) if positions is None else positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> RowSequence: ...
    def __getitem__(self, index: int | slice) -> Row | RowSequence:
        if isinstance(index, slice):
            return RowSequence(self._batches, self._values, self._positions[index])
        position = int(self._positions[index])
        return next(self._rows(next(self._batches.read(range(position, position + 1)))))

    def __iter__(self) -> Iterator[Row]:
        for batch in self.batches():
            yield from self._rows(batch)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} rows>"

    def batches(self) -> Iterator[Batch]:
        """Yield the rows as Arrow, a batch at a time, in order."""
        return self._batches.read(self._positions)

    def schemas(self) -> list[Any]:
        """Return the `pyarrow.Schema` of each batch that the rows may be in."""
        return [batch.arrow.schema for batch in self._batches.batches]

    def column(self, name: str) -> Iterator[Any]:
        """Yield the values of one column; `MISSING` where a row lacks it."""
        for batch in self.batches():
            if name in batch.arrow.schema.names:
                yield from self._values(batch.arrow.column(name))
            else:
                yield from batch.objects.get(name, (MISSING,) * batch.rows)

    def at(self, positions: Positions | Sequence[int]) -> RowSequence:
        """Return the rows at these positions of this sequence."""
        import numpy

        wanted = numpy.asarray(positions, dtype=numpy.int64)
        own = self._positions
        if not isinstance(own, range) or own.step != 1:
            return RowSequence(self._batches, self._values, numpy.asarray(own, dtype=numpy.int64)[wanted])
        wanted = wanted if own.start == 0 else wanted + own.start
        # Neighbours are read without a copy.
        is_run = len(wanted) > 0 and wanted[-1] - wanted[0] == len(wanted) - 1 and bool((numpy.diff(wanted) == 1).all())
        run = range(int(wanted[0]), int(wanted[-1]) + 1) if is_run else wanted
        return RowSequence(self._batches, self._values, run)

    def read(self, positions: Positions | Sequence[int]) -> Iterator[Batch]:
        """Yield the rows at these positions as Arrow, a batch at a time."""
        return self.at(positions).batches()

    def read_by(self, values: Callable[[Any], Sequence[Any]]) -> RowSequence:
        """Return the rows, of which the columns are read in another way."""
        return RowSequence(self._batches, values, self._positions)

    def __add__(self, other: RowSequence) -> RowSequence:
        """Return the rows of both, of which the columns are read alike."""
        import numpy

        after = numpy.asarray(other._positions, dtype=numpy.int64) + len(self._batches)
        positions = numpy.concatenate([numpy.asarray(self._positions, dtype=numpy.int64), after])
        return RowSequence(self._batches + other._batches, self._values, positions)

    def _rows(self, batch: Batch) -> Iterator[Row]:
        names = [*batch.arrow.schema.names, *batch.objects]
        columns = [*map(self._values, batch.arrow.columns), *batch.objects.values()]
        if not names:
            return ({} for _ in range(batch.rows))
        rows = zip(*columns, strict=True)
        if batch.objects or any(column.null_count for column in batch.arrow.columns):
            return ({name: one for name, one in zip(names, row, strict=True) if one is not MISSING} for row in rows)
        return (dict(zip(names, row, strict=True)) for row in rows)
