"""Texts of many rows, in Arrow: what checks of a dataset read, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, overload

from ftsdk.data.batches import Batch, Batches, BatchWriter, Positions

__all__ = ["TextColumn", "text_array", "text_buffers"]

_ROWS = 1024


class _Readable(Protocol):
    def __len__(self) -> int: ...

    def read(self, positions: Positions) -> Iterator[Batch]:
        """Yield the rows at these positions."""
        ...


class TextColumn(Sequence[str]):
    """Texts that are held as rows are: in memory, or beyond a limit in a file that is mapped into it."""

    __slots__ = ("_rows", "_sizes", "_text_of")

    def __init__(self, texts: Iterable[str]) -> None:
        """Collect texts. What isn't valid Unicode becomes `?`.

        Raises:
            OSError: The disk is full.
        """
        writer = BatchWriter()
        remaining = iter(texts)
        while chunk := list(islice(remaining, _ROWS)):
            writer.add(_batch(text_array(chunk)))
        self._rows: _Readable = writer.finish()
        self._text_of: Callable[[Batch], Any] = _only_column
        self._sizes: Any = None

    @classmethod
    def over(cls, arrays: Iterable[Any]) -> TextColumn:
        """Return the texts of pyarrow arrays, one after the other, without a copy."""
        column = cls(())
        column._rows = Batches([_batch(array) for array in arrays])
        return column

    @classmethod
    def made_of(cls, rows: _Readable, text_of: Callable[[Batch], Any]) -> TextColumn:
        """Return a text of each row, made anew whenever it is read.

        Args:
            rows: The rows.
            text_of: Returns the texts of a batch of them as a `pyarrow.LargeStringArray`.
        """
        column = cls(())
        column._rows, column._text_of = rows, text_of
        return column

    @classmethod
    def joined(cls, one: TextColumn, other: TextColumn) -> TextColumn:
        """Return the texts of two columns, one after the other, without a copy."""
        return cls.made_of(_Both(one, other), _only_column)

    def __len__(self) -> int:
        return len(self._rows)

    def arrays(self) -> Iterator[Any]:
        """Yield all texts as `pyarrow.LargeStringArray`s, in order."""
        return map(self._text_of, self._rows.read(range(len(self))))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return self.take(range(len(self))[index]).to_pylist()
        return self.take([range(len(self))[index]]).to_pylist()[0]

    def __iter__(self) -> Iterator[str]:
        for texts in self.arrays():
            yield from texts.to_pylist()

    def take(self, positions: Positions | Sequence[int]) -> Any:
        """Return the texts at these positions as a `pyarrow.LargeStringArray`."""
        import pyarrow

        parts = [self._text_of(batch) for batch in self._rows.read(positions)]
        return pyarrow.concat_arrays(parts) if parts else pyarrow.array([], pyarrow.large_string())

    def sizes(self) -> Any:
        """Return the bytes of each text, a NumPy array of int64."""
        import numpy
        import pyarrow.compute as compute

        if self._sizes is None:
            lengths = [compute.call_function("binary_length", [one]).to_numpy() for one in self.arrays()]
            self._sizes = numpy.concatenate([numpy.zeros(0, dtype=numpy.int64), *lengths])
        return self._sizes


class _Both:
    """The rows of two columns of texts, one after the other."""

    def __init__(self, one: TextColumn, other: TextColumn) -> None:
        self._columns = (one, other)

    def __len__(self) -> int:
        return sum(map(len, self._columns))

    def read(self, positions: Positions) -> Iterator[Batch]:
        import numpy

        wanted = numpy.asarray(positions, dtype=numpy.int64)
        first = len(self._columns[0])
        for start in range(0, len(wanted), _ROWS):
            chunk = wanted[start : start + _ROWS]
            edges = numpy.flatnonzero(numpy.diff(chunk >= first)) + 1
            for run in numpy.split(chunk, edges):
                number = int(run[0] >= first)
                yield _batch(self._columns[number].take(run - number * first))


def text_array(texts: Sequence[str]) -> Any:
    """Return texts as a `pyarrow.LargeStringArray`; each half of a surrogate pair becomes `?`."""
    import pyarrow

    try:
        return pyarrow.array(texts, pyarrow.large_string())
    except UnicodeEncodeError:
        return pyarrow.array([text.encode("utf-8", "replace").decode() for text in texts], pyarrow.large_string())


def text_buffers(texts: Any) -> tuple[Any, Any]:
    """Return where each text of a `pyarrow.LargeStringArray` begins and the last one ends, and the bytes of them all.

    Returns:
        NumPy arrays of int64, beginning with 0, and of uint8, without a copy of the texts.
    """
    import numpy

    _, offsets, content = texts.buffers()
    if not len(texts) or content is None:
        return numpy.zeros(len(texts) + 1, dtype=numpy.int64), numpy.empty(0, dtype=numpy.uint8)
    bounds = numpy.frombuffer(offsets, dtype=numpy.int64)[texts.offset : texts.offset + len(texts) + 1]
    return bounds - bounds[0], numpy.frombuffer(content, dtype=numpy.uint8)[bounds[0] : bounds[-1]]


def _only_column(batch: Batch) -> Any:
    return batch.arrow.column(0)


def _batch(array: Any) -> Batch:
    import pyarrow

    return Batch(len(array), pyarrow.RecordBatch.from_arrays([array], ["text"]))
