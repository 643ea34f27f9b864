"""Parquet and Arrow files, read a few rows at a time and within limits: both can expand a thousandfold."""

from __future__ import annotations

import mmap
import os
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftsdk._files import open_regular_file
from ftsdk._format import printable
from ftsdk.data.files.ipc_messages import expanded_size
from ftsdk.data.limits import LIMITS
from ftsdk.errors import DatasetError

__all__ = ["arrow_tables", "parquet_tables"]

_BATCH_ROWS = 1024
_CELL_BYTES = 16
"""What a value takes at least as a Python object, with the pointer to it."""
_MAGIC = b"ARROW1"
_FLAT = ("bool", "int", "uint", "float", "halffloat", "double", "date", "time", "duration", "decimal", "null")
"""How the names of types begin whose values are flat; texts, lists and structs come on top."""


class _Budget:
    """What the rows of a file may take in memory, by its size."""

    def __init__(self, path: Path, name: str, size: int) -> None:
        self.size = size
        self.left = self.allowed = max(LIMITS.expanded_bytes, LIMITS.expansion * size)
        self.path, self.name = path, name

    def take(self, needed: int) -> None:
        self.left -= needed
        if self.left < 0:
            raise DatasetError(
                f"the file would take at least {self.allowed - self.left >> 20:,} MiB of memory, and is only "
                f"{self.size:,} bytes long; {self.allowed >> 20:,} MiB is the most that a file of this size may take.",
                source=self.name,
                hint="If it is sound, split it into several files.",
            )


def parquet_tables(path: Path, name: str, size: int) -> Iterator[Any]:
    """Yield a Parquet file as `pyarrow.Table`s of some rows each.

    Args:
        path: The file, unpacked.
        name: Its name, for errors.
        size: Its bytes before it was unpacked.

    Raises:
        DatasetError: It can't be read, or holds far more than its size: half a megabyte can expand to many gigabytes.
    """
    import pyarrow
    import pyarrow.parquet

    with _readable("Parquet", name):
        budget = _Budget(path, name, size)
        with pyarrow.parquet.ParquetFile(path) as peeked:
            schema, columns = peeked.schema_arrow, [peeked.schema.column(i) for i in range(len(peeked.schema.names))]
            groups = [peeked.metadata.row_group(i) for i in range(peeked.metadata.num_row_groups)]
            _check_names(schema, name)
            # What is unpacked, and every cell as an object: a million nulls are a few bytes in the file.
            cells = sum(group.column(i).num_values for group in groups for i in range(group.num_columns))
            _Budget(path, name, size).take(sum(group.total_byte_size for group in groups) + _CELL_BYTES * cells)
        # A text that a million rows share is kept once in the file, and read as a dictionary once in memory too.
        shared = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
        with pyarrow.parquet.ParquetFile(path, read_dictionary=shared) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                budget.take(sum(map(_written_out, batch.columns)))
                yield pyarrow.Table.from_batches([batch]).cast(schema)


def arrow_tables(path: Path, name: str, size: int) -> Iterator[Any]:
    """Yield an Arrow file (a stream, or the file form that is also called Feather) as tables; see `parquet_tables`.

    Raises:
        DatasetError: It can't be read, ends early, has a type that isn't read, or holds far more than its size.
    """
    import pyarrow

    with _readable("Arrow", name):
        budget = _Budget(path, name, size)
        with open_regular_file(path) as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise DatasetError("the file is empty.", source=name)
            content = pyarrow.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        is_file = content.slice(0, len(_MAGIC)).to_pybytes() == _MAGIC
        # Its footer can point anywhere, so both forms are read from front to end.
        stream = content.slice(len(_MAGIC) + 2) if is_file else content
        footer = pyarrow.ipc.open_file(content) if is_file else None
        budget.take(expanded_size(stream))
        source = pyarrow.BufferReader(stream)
        found, end = 0, 0
        with pyarrow.ipc.open_stream(source) as reader:
            _check_names(reader.schema, name)
            if footer is not None and not footer.schema.equals(reader.schema, check_metadata=True):
                raise DatasetError("the columns at its start and at its end differ.", source=name)
            for column in reader.schema:
                _check_type(column.type, column.name, name)
            end = source.tell()
            for batch in reader:
                found, end = found + 1, source.tell()
                budget.take(_CELL_BYTES * batch.num_rows * batch.num_columns)
                batch.validate(full=True)
                for column in batch.columns:
                    budget.take(_written_out(column) + _CELL_BYTES * _inner_cells(column))
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    yield pyarrow.Table.from_batches([batch.slice(start, _BATCH_ROWS)])
        # The sign at the end of a stream has 8 bytes, before Arrow 0.15 it had 4.
        is_whole = source.tell() == len(stream) and source.tell() - end in (4, 8)
        if not is_whole if footer is None else found != footer.num_record_batches:
            raise DatasetError(
                "the file ends early, or has more behind its end.", source=name, hint="Write it again, and close it."
            )


@contextmanager
def _readable(kind: str, name: str) -> Generator[None]:
    import pyarrow

    try:
        yield
    except DatasetError:
        raise
    # A damaged header also makes pyarrow raise what Python itself raises: UnicodeDecodeError, KeyError and so on.
    except (pyarrow.ArrowException, OSError, MemoryError, ValueError, LookupError, TypeError, OverflowError) as error:
        raise DatasetError(
            f"the file can't be read as {kind} ({printable(' '.join(str(error).split()), 300)}).", source=name
        ) from error


def _check_names(schema: Any, name: str) -> None:
    if not schema.names:
        raise DatasetError("has no columns.", source=name)
    doubled = next((column for column, count in Counter(schema.names).items() if count > 1), None)
    if doubled is not None:
        raise DatasetError(f"has the column {printable(doubled, 80)!r} twice.", source=name, hint="Rename one of them.")


def _check_type(kind: Any, column: str, name: str) -> None:
    """Refuse types whose values can be far more than their bytes in ways that aren't counted here."""
    import pyarrow

    types = pyarrow.types
    if types.is_struct(kind) or types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        for inner in range(kind.num_fields):
            _check_type(kind.field(inner).type, column, name)
    elif types.is_dictionary(kind):
        _check_type(kind.value_type, column, name)
    elif not (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or str(kind).startswith((*_FLAT, "timestamp"))
    ):
        raise DatasetError(
            f"the column {printable(column, 80)!r} has the type {printable(str(kind), 80)}, which isn't read.",
            source=name,
            hint="Cast it to text, numbers, lists or structs.",
        )


def _written_out(column: Any) -> int:
    """Return the bytes of a column, at any depth, with every shared text written out."""
    import pyarrow
    import pyarrow.compute as compute

    types = pyarrow.types
    if types.is_dictionary(column.type):
        if types.is_nested(column.type.value_type) or not _has_bytes(column.type.value_type):
            return int(column.nbytes)
        lengths = compute.call_function("binary_length", [column.dictionary])
        return int(compute.call_function("sum", [lengths.take(column.indices)]).as_py() or 0)
    if types.is_struct(column.type):
        return sum(_written_out(inner) for inner in column.flatten())
    if types.is_list(column.type) or types.is_large_list(column.type):
        return _written_out(column.flatten())
    return int(column.nbytes)


def _has_bytes(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    )


def _inner_cells(column: Any) -> int:
    """Return how many values the lists and structs of a column hold."""
    import pyarrow

    types = pyarrow.types
    if types.is_struct(column.type):
        return sum(len(inner) + _inner_cells(inner) for inner in column.flatten())
    if types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type):
        inner = column.flatten()
        return len(inner) + _inner_cells(inner)
    return 0
