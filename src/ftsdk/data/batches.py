"""Record batches that are held in memory or, beyond a limit, in a file that is mapped into it."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ftsdk._home import home
from ftsdk.data.limits import LIMITS

__all__ = ["MISSING", "Batch", "BatchWriter", "Batches", "Positions", "nameless_file"]

Positions = Any
"""Positions of rows: a `range`, or a NumPy array of int64."""


class _Missing:
    __slots__ = ()


MISSING = _Missing()
"""The value of a column that a row lacks."""
_ROWS = 1024
"""Rows that are turned into Python at a time."""
_ALIGNED = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows as columns."""

    rows: int
    arrow: Any
    """A `pyarrow.RecordBatch`."""
    objects: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Columns of Python values that Arrow isn't given, such as dates."""

    def slice(self, start: int, stop: int) -> Batch:
        """Return the rows from `start` up to `stop`, without a copy."""
        if (start, stop) == (0, self.rows):
            return self
        objects = {name: values[start:stop] for name, values in self.objects.items()}
        return Batch(stop - start, self.arrow.slice(start, stop - start), objects)

    def take(self, positions: Any) -> Batch:
        """Return the rows at these positions, a NumPy array."""
        import pyarrow

        objects = {name: [values[i] for i in positions] for name, values in self.objects.items()}
        return Batch(len(positions), self.arrow.take(pyarrow.array(positions)), objects)


class Batches:
    """The batches of a table, read by the positions of their rows."""

    __slots__ = ("_starts", "batches")

    def __init__(self, batches: Sequence[Batch]) -> None:
        """Hold batches, one after the other."""
        import numpy

        self.batches = tuple(batches)
        self._starts = numpy.cumsum([0, *(batch.rows for batch in self.batches)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __add__(self, other: Batches) -> Batches:
        return Batches((*self.batches, *other.batches))

    def read(self, positions: Positions) -> Iterator[Batch]:
        """Yield the rows at these positions, in their order, a batch at a time."""
        if isinstance(positions, range) and positions.step == 1:
            yield from self._between(positions.start, positions.stop)
            return
        import numpy

        wanted = numpy.asarray(positions, dtype=numpy.int64)
        for start in range(0, len(wanted), _ROWS):
            yield from self._at(wanted[start : start + _ROWS])

    def _between(self, start: int, stop: int) -> Iterator[Batch]:
        import numpy

        number = int(numpy.searchsorted(self._starts, start, side="right")) - 1
        while start < stop:
            batch, first = self.batches[number], int(self._starts[number])
            end = min(stop, first + batch.rows, start + _ROWS)
            if end > start:
                yield batch.slice(start - first, end - first)
                start = end
            if start >= first + batch.rows:
                number += 1

    def _at(self, wanted: Any) -> Iterator[Batch]:
        """Yield rows in any order: neighbours that lie in one batch at once."""
        import numpy

        numbers = numpy.searchsorted(self._starts, wanted, side="right") - 1
        edges = [0, *(numpy.flatnonzero(numpy.diff(numbers)) + 1), len(wanted)]
        for start, stop in pairwise(edges):
            number = int(numbers[start])
            yield self.batches[number].take(wanted[start:stop] - self._starts[number])


class BatchWriter:
    """Collects batches. What is more than `LIMITS.memory_bytes` goes to a file that has no name and is mapped."""

    def __init__(self) -> None:
        """Start without rows."""
        self._batches: list[Batch] = []
        self._bytes = 0
        self._file: Any = None
        self._written: list[tuple[int, int, int, Any, Mapping[str, Sequence[Any]]]] = []

    def add(self, batch: Batch) -> None:
        """Append rows.

        Raises:
            OSError: The disk is full.
        """
        if self._file is not None:
            self._write(batch)
            return
        self._batches.append(batch)
        self._bytes += batch.arrow.nbytes
        if self._bytes > LIMITS.memory_bytes:
            self._file = nameless_file()
            for one in self._batches:
                self._write(one)
            self._batches = []

    def finish(self) -> Batches:
        """Return all rows."""
        if self._file is None:
            return Batches(self._batches)
        import pyarrow

        with self._file as file:
            file.flush()
            content = pyarrow.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return Batches(
            [
                Batch(rows, pyarrow.ipc.read_record_batch(content.slice(start, size), schema), objects)
                for rows, start, size, schema, objects in self._written
            ]
        )

    def _write(self, batch: Batch) -> None:
        content = batch.arrow.serialize()
        start = self._file.tell()
        start += -start % _ALIGNED
        self._file.seek(start)
        self._file.write(content)
        self._written.append((batch.rows, start, content.size, batch.arrow.schema, batch.objects))


def nameless_file() -> Any:
    """Return a file on the disk of ftsdk's home, which the system removes with this process."""
    folder = home() / "data"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return tempfile.TemporaryFile(dir=folder)
    except OSError:  # a home that can't be written to
        return tempfile.TemporaryFile()
