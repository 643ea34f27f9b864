"""The content of a data file, read within limits: text in UTF-8, and Parquet."""

from __future__ import annotations

import codecs
import errno
import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ftsdk._files import file_too_large, open_regular_file
from ftsdk._format import printable
from ftsdk.data.limits import LIMITS
from ftsdk.errors import DatasetError

__all__ = ["COMPRESSED", "read_parquet", "read_text", "text_blocks"]

COMPRESSED = (".gz", ".zst")
"""Endings of files whose text is packed, behind the ending of what is in them: `.jsonl.gz`."""

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
_BLOCK = 4 << 20
_CELL_BYTES = 16
"""What a value takes at least as a Python object, with the pointer to it."""


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, without its byte order mark.

    Raises:
        DatasetError: As for `text_blocks`.
    """
    return "".join(text_blocks(path))


def text_blocks(path: Path) -> Iterator[str]:
    """Yield the text of a file in UTF-8 in blocks, without its byte order mark. `.gz` and `.zst` are unpacked.

    Raises:
        DatasetError: It can't be read, is too large, is empty, or isn't text in UTF-8; says how to convert it.
    """
    name = printable(path.name)
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, lines, is_blank = 0, 0, True
    try:
        for block in _blocks(path):
            content = block
            if offset == 0:
                _check_is_text(content, path, name)
                content = content.removeprefix(codecs.BOM_UTF8)
            offset += len(block)
            waiting = len(decoder.getstate()[0])
            try:
                text = decoder.decode(content)
            except UnicodeDecodeError as error:
                lines += content.count(b"\n", 0, max(0, error.start - waiting))
                raise _not_utf8(path, offset - len(content) - waiting + error.start, error, lines) from error
            lines += content.count(b"\n")
            is_blank = is_blank and not text.strip()
            yield text
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise _not_utf8(path, offset - len(error.object) + error.start, error, lines) from error
    except OSError as error:
        raise DatasetError(f"the file can't be read: {error.strerror or error}.", source=name) from error
    if is_blank:
        raise DatasetError("the file is empty.", source=name)


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, unpacked.

    Raises:
        OSError: It can't be read, is damaged, or is too large.
    """
    with open_regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        ending = path.suffix.lower()
        most = LIMITS.file_bytes
        if ending in COMPRESSED:
            most = min(most, max(LIMITS.expanded_bytes, LIMITS.expansion * size))
        if size > most:
            raise file_too_large(most)
        taken = 0
        for block in _unpacked(file, ending):
            taken += len(block)
            # Some files of /proc never end and have the size 0, so the size alone isn't trusted.
            if taken > most:
                raise file_too_large(most)
            yield block


def _unpacked(file: BinaryIO, ending: str) -> Iterator[bytes]:
    if ending == ".gz":
        with gzip.GzipFile(fileobj=file) as unpacked:
            try:
                while block := unpacked.read(_BLOCK):
                    yield block
            except (EOFError, zlib.error) as error:
                raise OSError(errno.EIO, f"its gzip data is damaged ({error})") from error
    elif ending == ".zst":
        import pyarrow

        with pyarrow.CompressedInputStream(file, "zstd") as unpacked:
            try:
                while block := unpacked.read(_BLOCK):
                    yield block
            except (OSError, pyarrow.ArrowException) as error:
                raise OSError(errno.EIO, f"its Zstandard data is damaged ({error})") from error
    else:
        while block := file.read(_BLOCK):
            yield block


def _check_is_text(content: bytes, path: Path, name: str) -> None:
    packed = next((kind for start, kind in _PACKED.items() if content.startswith(start)), None)
    if packed is not None:
        raise DatasetError(
            f"the file isn't text, but {packed}.", source=name, hint="Unpack or export it first, or correct its name."
        )
    encoding = _wide_encoding(content)
    if encoding is not None:
        raise DatasetError(f"the file is in {encoding}, not UTF-8.", source=name, hint=_convert(path, encoding))


def _not_utf8(path: Path, offset: int, error: UnicodeDecodeError, lines: int) -> DatasetError:
    return DatasetError(
        f"the file isn't in UTF-8: byte 0x{error.object[error.start]:02x} at offset {offset} can't be decoded.",
        source=printable(path.name),
        line=lines + 1,
        hint=_convert(path, "WINDOWS-1252"),
    )


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
