"""Token ids of rendered rows in Arrow files, mapped into memory; named by what they were made from.

Two files: the columns, and beside them a record with the report and a checksum of the columns. The record is written
last, so that what it doesn't name isn't whole. It is a cache: a file that isn't what its record says is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import time
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, overload

from ftsdk._files import open_regular_file, read_regular_file, replace_file, replacing
from ftsdk.data.render_report import RenderReport

__all__ = ["TokenColumn", "TokenFile", "keep_beside", "open_token_file", "token_key", "write_token_file"]

_FORM = 1
"""Changes with the layout of the files, and with what rendering makes of the same rows."""
_UNUSED_S = 30 * 24 * 3600
"""Files that nobody has used for so long, in seconds, are removed from a shared folder."""
_BLOCK = 1 << 20
_RECORD_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class TokenFile:
    """Rendered rows, and what was counted of them."""

    table: Any
    """A `pyarrow.Table` whose columns are lists of token ids, or booleans; mapped, not read."""
    report: RenderReport


def token_key(parts: Mapping[str, Any]) -> str:
    """Return the name of token files: a SHA-256 of all that decides what is in them.

    Args:
        parts: JSON, such as the fingerprint of the rows, and the tokenizer and its template as text.
    """
    content = json.dumps({**parts, "form": _FORM}, sort_keys=True)
    return hashlib.sha256(content.encode("utf-8", errors="surrogatepass")).hexdigest()


def write_token_file(folder: Path, key: str, batches: Iterable[Mapping[str, Sequence[Any]]]) -> int:
    """Write columns, some rows at a time, and return the checksum of the file.

    The file counts once `keep_beside` has written its record.

    Args:
        folder: Made if missing.
        key: From `token_key`.
        batches: Columns of as many values each. At least one batch.

    Raises:
        OSError: The disk is full, or the folder can't be written to.
    """
    import pyarrow

    with replacing(folder / f"{key}.arrow") as draft:
        writer: Any = None
        with draft.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            try:
                for columns in batches:
                    batch = pyarrow.record_batch({name: _array(values) for name, values in columns.items()})
                    if writer is None:
                        writer = pyarrow.ipc.new_file(file, batch.schema)
                    writer.write_batch(batch)
            finally:
                if writer is not None:
                    writer.close()
        return _checksum(draft)


def keep_beside(folder: Path, key: str, *, checksum: int, report: RenderReport) -> None:
    """Write the record of columns that are there already: from now on they count."""
    # Spelled out, since `asdict` would also go into what isn't plain.
    counts = {field.name: getattr(report, field.name) for field in fields(report)}
    replace_file(folder / f"{key}.json", json.dumps({"checksum": checksum, "report": counts}).encode())


def open_token_file(folder: Path, key: str, *, shared: Path | None = None) -> TokenFile | None:
    """Map the rows with this name into memory; None if there are none, or they aren't whole.

    Args:
        folder: Of the run.
        key: From `token_key`.
        shared: A folder that other runs use, too. What is in one of the two is linked or copied into the other.
    """
    found = _opened(folder, key)
    if found is None and shared is not None and (shared / f"{key}.json").is_file():
        with contextlib.suppress(OSError):
            _link(shared, folder, key)
        found = _opened(folder, key)
    if found is not None and shared is not None:
        # Another run may use them soon; a shared folder that is full or read-only is no reason to fail this one.
        with contextlib.suppress(OSError):
            _share(folder, shared, key, now=time.time())
    return found


def _array(values: Sequence[Any]) -> Any:
    import pyarrow

    is_flag = not values or isinstance(values[0], bool)
    return pyarrow.array(values, type=pyarrow.bool_() if is_flag else pyarrow.list_(pyarrow.int32()))


def _opened(folder: Path, key: str) -> TokenFile | None:
    import pyarrow

    path = folder / f"{key}.arrow"
    try:
        record = json.loads(read_regular_file(folder / f"{key}.json", most_bytes=_RECORD_BYTES))
        report = RenderReport(**record["report"])
        if _checksum(path) != record["checksum"]:
            return None
        with open_regular_file(path) as file:
            content = pyarrow.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        table = pyarrow.ipc.open_file(pyarrow.BufferReader(content)).read_all()
        table.validate(full=True)
    # pyarrow's own errors are among these.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return TokenFile(table=table, report=report)


def _checksum(path: Path) -> int:
    """Return the CRC-32 of a file, read block by block: what is read through a map would count as memory."""
    total = 0
    with open_regular_file(path) as file:
        while block := file.read(_BLOCK):
            total = zlib.crc32(block, total)
    return total


def _share(folder: Path, shared: Path, key: str, *, now: float) -> None:
    if not (shared / f"{key}.json").is_file():
        _link(folder, shared, key)
    for name in (f"{key}.arrow", f"{key}.json"):
        os.utime(shared / name, (now, now))
    for path in shared.iterdir():
        if now - path.stat().st_mtime > _UNUSED_S:
            path.unlink(missing_ok=True)


def _link(source: Path, target: Path, key: str) -> None:
    for name in (f"{key}.arrow", f"{key}.json"):
        with replacing(target / name) as draft:
            try:
                os.link(source / name, draft)
            except OSError:
                shutil.copyfile(source / name, draft)


class TokenColumn(Sequence[list[int]]):
    """A column of lists of token ids, of which a row becomes Python when somebody asks for it."""

    def __init__(self, column: Any) -> None:
        """Hold a `pyarrow.ChunkedArray` of lists."""
        import numpy

        self._chunks = [
            (chunk.offsets.to_numpy(), chunk.values.to_numpy(zero_copy_only=True)) for chunk in column.chunks
        ]
        sizes = [len(offsets) - 1 for offsets, _ in self._chunks]
        self._starts: list[int] = numpy.cumsum([0, *sizes]).tolist()

    @property
    def lengths(self) -> list[int]:
        """How many tokens each row has."""
        import numpy

        return numpy.concatenate([numpy.diff(offsets) for offsets, _ in self._chunks] or [[]]).astype(int).tolist()

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(index)
        chunk = bisect_right(self._starts, position) - 1
        offsets, values = self._chunks[chunk]
        row = position - self._starts[chunk]
        return values[offsets[row] : offsets[row + 1]].tolist()
