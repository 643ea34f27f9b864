"""Canonical rows in Arrow: each is one or more lists of messages, and a message is a role and a content."""

from __future__ import annotations

import hashlib
import itertools
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from ftsdk._files import open_regular_file
from ftsdk.data.arrow_lines import arrow_lines
from ftsdk.data.batches import Batch, Batches, BatchWriter
from ftsdk.data.in_threads import in_threads
from ftsdk.data.message_columns import messages_of
from ftsdk.data.row_sequence import RowSequence

__all__ = [
    "SIDES",
    "Row",
    "as_lines",
    "fingerprint_of",
    "last_contents",
    "line_blocks",
    "list_column",
    "message_batch",
    "message_lists",
    "message_rows",
    "open_message_rows",
    "row_characters",
    "stored_rows",
    "write_message_rows",
]

Row = dict[str, Any]
"""Chat: `{"messages": [...]}`. Preference: `{"prompt": [...], "chosen": [...], "rejected": [...]}`."""
SIDES = {"chat": ("messages",), "preference": ("chosen", "prompt", "rejected")}
"""The lists of messages of a row, by the format of the rows."""
_ROWS = 1024
_FEW = 8 * _ROWS


def message_rows(rows: Iterable[Row]) -> RowSequence:
    """Collect canonical rows, all of one format.

    Raises:
        OSError: The disk is full.
    """
    writer = BatchWriter()
    waiting: list[Row] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == _ROWS:
            writer.add(message_batch(waiting))
            waiting = []
    if waiting:
        writer.add(message_batch(waiting))
    return RowSequence(writer.finish(), message_lists)


def as_lines(rows: Iterable[Row]) -> bytes:
    """Return canonical rows as JSON lines: sorted keys, UTF-8, no blanks. Their SHA-256 is the fingerprint."""
    # Written by hand, because the shape is known and json.dumps takes several times as long; a test holds the two
    # equal.
    return "".join(
        ["{" + ",".join([f'"{key}":{_array(row[key])}' for key in sorted(row)]) + "}\n" for row in rows]
    ).encode("utf-8")


def fingerprint_of(rows: RowSequence) -> str:
    """Return the SHA-256 of canonical rows as JSON lines."""
    digest = hashlib.sha256()
    for lines in line_blocks(rows):
        digest.update(lines)
    return digest.hexdigest()


def line_blocks(rows: RowSequence) -> Iterator[bytes]:
    """Yield canonical rows as JSON lines, many rows at a time; see `as_lines`."""
    # With a few batches, threads take longer to start than they save.
    return (in_threads if len(rows) > _FEW else map)(_lines, rows.batches())


def _lines(batch: Batch) -> bytes:
    lines = None if batch.objects else arrow_lines(batch.arrow)
    return as_lines(RowSequence([batch], message_lists)) if lines is None else lines


def last_contents(rows: RowSequence, side: str) -> Iterator[str]:
    """Yield what the last message of each row says, without building the others.

    Args:
        rows: Canonical rows.
        side: Which of their lists of messages.
    """
    import pyarrow

    for batch in rows.batches():
        messages = messages_of(batch.arrow.column(side))
        yield from messages.contents.take(pyarrow.array(messages.last)).to_pylist()


def row_characters(rows: RowSequence) -> list[int]:
    """Return the characters of all messages of each row."""
    import numpy
    import pyarrow.compute as compute

    found: list[int] = []
    for batch in rows.batches():
        total = numpy.zeros(batch.rows, dtype=numpy.int64)
        for column in batch.arrow.columns:
            messages = messages_of(column)
            lengths = compute.call_function("utf8_length", [messages.contents]).to_numpy()
            sums = numpy.concatenate([[0], numpy.cumsum(lengths)])
            total += numpy.diff(sums[numpy.concatenate([[0], numpy.cumsum(messages.counts)])])
        found += total.tolist()
    return found


def write_message_rows(rows: RowSequence, path: Path) -> None:
    """Write canonical rows as an Arrow file.

    Raises:
        OSError: The file can't be written.
    """
    import pyarrow

    batches = rows.batches()
    first = next(batches)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file, pyarrow.ipc.new_file(file, first.arrow.schema) as writer:
        writer.write_batch(first.arrow)
        for batch in batches:
            writer.write_batch(batch.arrow)


def open_message_rows(path: Path) -> RowSequence:
    """Map an Arrow file of canonical rows into memory.

    Raises:
        OSError: The file can't be read.
        ValueError: It isn't such a file.
    """
    import pyarrow

    with _mapped(path) as file:
        reader = pyarrow.ipc.open_file(file)
        found = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    sides = tuple(reader.schema.names)
    if sides not in SIDES.values() or any(column.type != _list_type() for column in reader.schema):
        raise ValueError(f"its columns are {', '.join(sides)[:200]}, not those of rows to train on")
    for batch in found:
        batch.validate(full=True)
        if any(_has_gaps(column) for column in batch.columns):
            raise ValueError("some messages have no role or no content")
    return RowSequence(Batches([Batch(batch.num_rows, batch) for batch in found]), message_lists)


def stored_rows(path: Path) -> int | None:
    """Return how many rows an Arrow file has; None if there is no whole one."""
    import pyarrow

    try:
        with _mapped(path) as file:
            return pyarrow.ipc.open_file(file).count_rows()
    except (OSError, ValueError):
        return None


def _mapped(path: Path) -> Any:
    import pyarrow

    # Not pyarrow.memory_map, which waits for a pipe, and takes no path that isn't UTF-8.
    with open_regular_file(path) as file:
        return pyarrow.BufferReader(pyarrow.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


def _has_gaps(lists: Any) -> bool:
    messages = lists.flatten()
    return bool(lists.null_count or messages.null_count or any(part.null_count for part in messages.flatten()))


def _list_type() -> Any:
    import pyarrow

    return pyarrow.list_(pyarrow.struct({"role": pyarrow.string(), "content": pyarrow.large_string()}))


def message_batch(rows: Sequence[Row]) -> Batch:
    """Return canonical rows, all of one format, as Arrow."""
    import pyarrow

    columns = {side: _column([row[side] for row in rows]) for side in sorted(rows[0])}
    return Batch(len(rows), pyarrow.RecordBatch.from_pydict(columns))


def _column(lists: Sequence[Sequence[dict[str, str]]]) -> Any:
    import pyarrow

    said = list(itertools.chain.from_iterable(lists))
    roles = pyarrow.array([message["role"] for message in said], pyarrow.string())
    contents = pyarrow.array([message["content"] for message in said], pyarrow.large_string())
    return list_column(list(itertools.accumulate(map(len, lists), initial=0)), roles, contents)


def list_column(ends: Any, roles: Any, contents: Any) -> Any:
    """Return lists of messages as a column of canonical rows.

    Args:
        ends: Where each list begins among the messages, and where the last one ends.
        roles: `pyarrow.StringArray`: the role of each message.
        contents: `pyarrow.LargeStringArray`: what it says.
    """
    import pyarrow

    messages = pyarrow.StructArray.from_arrays([roles, contents], ["role", "content"])
    return pyarrow.ListArray.from_arrays(pyarrow.array(ends, pyarrow.int32()), messages)


def message_lists(column: Any) -> list[list[dict[str, str]]]:
    """Return the lists of messages in a column."""
    messages = messages_of(column)
    pairs = zip(messages.roles.to_pylist(), messages.contents.to_pylist(), strict=True)
    said = [{"role": role, "content": content} for role, content in pairs]
    ends = list(itertools.accumulate(messages.counts.tolist(), initial=0))
    return [said[start:end] for start, end in itertools.pairwise(ends)]


def _array(messages: Sequence[dict[str, str]]) -> str:
    return (
        "["
        + ",".join(
            [
                f'{{"content":{encode_basestring(message["content"])},"role":{encode_basestring(message["role"])}}}'
                for message in messages
            ]
        )
        + "]"
    )
