"""The content of a data file, read within limits: text in UTF-8, and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftsdk._files import read_regular_file
from ftsdk._format import printable
from ftsdk.data.limits import LIMITS
from ftsdk.errors import DatasetError

__all__ = ["read_parquet", "read_text"]

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"PAR1": "Parquet",
}
"""How files begin that aren't text, whatever they are called."""
_BATCH_ROWS = 1024
_CELL_BYTES = 16
"""What a value takes at least as a Python object, with the pointer to it."""


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, without its byte order mark.

    Raises:
        DatasetError: It can't be read, is too large, is empty, or isn't text in UTF-8; says how to convert it.
    """
    name = printable(path.name)
    try:
        content = read_regular_file(path, most_bytes=LIMITS.file_bytes)
    except OSError as error:
        raise DatasetError(f"the file can't be read: {error.strerror or error}.", source=name) from error
    if not content.strip():
        raise DatasetError("the file is empty.", source=name)
    packed = next((kind for start, kind in _PACKED.items() if content.startswith(start)), None)
    if packed is not None:
        raise DatasetError(
            f"the file isn't text, but {packed}.", source=name, hint="Unpack or export it first, or correct its name."
        )
    encoding = _wide_encoding(content)
    if encoding is not None:
        raise DatasetError(f"the file is in {encoding}, not UTF-8.", source=name, hint=_convert(path, encoding))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig counts from behind the byte order mark.
        offset = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
        raise DatasetError(
            f"the file isn't in UTF-8: byte 0x{content[offset]:02x} at offset {offset} can't be decoded.",
            source=name,
            line=content.count(b"\n", 0, offset) + 1,
            hint=_convert(path, "WINDOWS-1252"),
        ) from error


def _wide_encoding(content: bytes) -> str | None:
    """Return UTF-16 or UTF-32 if the text is in one of them: by its byte order mark, or by every other byte being 0."""
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    start = content[:4096]
    if len(start) >= 4 and not any(start[::2]):
        return "UTF-16BE" if any(start[1::2]) and any(start[1::4]) and any(start[3::4]) else "UTF-32BE"
    if len(start) >= 4 and not any(start[1::2]):
        return "UTF-16LE" if any(start[2::4]) else "UTF-32LE"
    return None


def _convert(path: Path, encoding: str) -> str:
    name, stem = printable(path.name), printable(path.stem)
    return f"Convert it, for example: iconv -f {encoding} -t UTF-8 {name} > {stem}-utf8{path.suffix}"


def read_parquet(path: Path) -> Any:
    """Return a Parquet file as a `pyarrow.Table`.

    Raises:
        DatasetError: It can't be read, or holds far more than its size: half a megabyte can expand to many gigabytes.
    """
    import pyarrow

    try:
        return _bounded_table(path)
    except DatasetError:
        raise
    # A damaged header also makes pyarrow raise what Python itself raises: UnicodeDecodeError, KeyError and so on.
    except (pyarrow.ArrowException, OSError, MemoryError, ValueError, LookupError, TypeError, OverflowError) as error:
        raise DatasetError(
            f"the file can't be read as Parquet ({printable(' '.join(str(error).split()), 300)}).",
            source=printable(path.name),
        ) from error


def _bounded_table(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    allowed = max(LIMITS.expanded_bytes, LIMITS.expansion * path.stat().st_size)
    with pyarrow.parquet.ParquetFile(path) as peeked:
        schema, columns = peeked.schema_arrow, [peeked.schema.column(i) for i in range(len(peeked.schema.names))]
        groups = [peeked.metadata.row_group(i) for i in range(peeked.metadata.num_row_groups)]
        # What is unpacked, and every cell as an object: a million nulls are a few bytes in the file.
        cells = sum(group.column(i).num_values for group in groups for i in range(group.num_columns))
        _refuse_above(allowed, sum(group.total_byte_size for group in groups) + _CELL_BYTES * cells, path)
    # A text that a million rows share is kept once in the file, and read as a dictionary once in memory too.
    shared = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    with pyarrow.parquet.ParquetFile(path, read_dictionary=shared) as file:
        tables: list[Any] = []
        taken = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for column in batch.columns:
                taken += _written_out(column)
                _refuse_above(allowed, taken, path)
            tables.append(pyarrow.Table.from_batches([batch]).cast(schema))
        return pyarrow.concat_tables(tables) if tables else schema.empty_table()


def _written_out(column: Any) -> int:
    """Return the bytes of a column, at any depth, with every shared text written out."""
    import pyarrow
    import pyarrow.compute as compute

    types = pyarrow.types
    if types.is_dictionary(column.type):
        lengths = compute.call_function("binary_length", [column.dictionary.cast(pyarrow.binary())])
        return int(compute.call_function("sum", [lengths.take(column.indices)]).as_py() or 0)
    if types.is_struct(column.type):
        return sum(_written_out(inner) for inner in column.flatten())
    if types.is_list(column.type) or types.is_large_list(column.type):
        return _written_out(column.flatten())
    return int(column.nbytes)


def _refuse_above(allowed: int, needed: int, path: Path) -> None:
    if needed > allowed:
        raise DatasetError(
            f"the file would take at least {needed >> 20:,} MiB of memory, and is only {path.stat().st_size:,} bytes "
            f"long; {allowed >> 20:,} MiB is the most that a file of this size may take.",
            source=printable(path.name),
            hint="If it is sound, split it into several files.",
        )
