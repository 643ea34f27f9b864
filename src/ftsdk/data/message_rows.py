"""Canonical rows in Arrow: each is one or more lists of messages, and a message is a role and a content.

What few messages have besides, such as tool calls, is one JSON object in a third field, which is there where any row
of a batch needs it. So are the columns of what rows have beside their conversation, such as tools.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from ftsdk._files import open_regular_file
from ftsdk.data.arrow_lines import arrow_lines
from ftsdk.data.batches import MISSING, Batch, Batches, BatchWriter
from ftsdk.data.cells import decode_cells, encode_cells
from ftsdk.data.in_threads import in_threads
from ftsdk.data.message_columns import has_plain_messages, messages_of
from ftsdk.data.row_sequence import RowSequence
from ftsdk.models.chat_template import message_text

__all__ = [
    "BESIDE",
    "SIDES",
    "Row",
    "as_lines",
    "fingerprint_of",
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
"""Chat: `{"messages": [...]}`. Preference: `{"prompt": [...], "chosen": [...], "rejected": [...]}`.
Unpaired: `{"messages": [...], "label": True}`."""
SIDES = {"chat": ("messages",), "preference": ("chosen", "prompt", "rejected"), "unpaired": ("messages",)}
"""The lists of messages of a row, by the format of the rows."""
BESIDE = ("label", "parallel_tool_calls", "tools")
"""What a row may have beside its lists of messages."""
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
    """Return canonical rows as JSON lines: sorted keys, UTF-8, no blanks. Their SHA-256 is the fingerprint.

    Tools keep the order of their keys, in which templates show them.
    """
    # Written by hand, because the shape is known and json.dumps takes several times as long; a test holds the two
    # equal.
    return "".join(
        [
            "{"
            + ",".join([f'"{key}":{_json(row[key]) if key in BESIDE else _array(row[key])}' for key in sorted(row)])
            + "}\n"
            for row in rows
        ]
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


def row_characters(rows: RowSequence) -> list[int]:
    """Return the characters of each row: of all its messages, and of its tools."""
    import numpy
    import pyarrow.compute as compute

    found: list[int] = []
    for batch in rows.batches():
        if not has_plain_messages(batch):
            found += [_characters(row) for row in RowSequence([batch], message_lists)]
            continue
        total = numpy.zeros(batch.rows, dtype=numpy.int64)
        for column in batch.arrow.columns:
            messages = messages_of(column)
            lengths = compute.call_function("utf8_length", [messages.contents]).to_numpy()
            sums = numpy.concatenate([[0], numpy.cumsum(lengths)])
            total += numpy.diff(sums[numpy.concatenate([[0], numpy.cumsum(messages.counts)])])
        found += total.tolist()
    return found


def _characters(row: Row) -> int:
    sides = [row["messages"]] if "messages" in row else [row["prompt"], row["chosen"], row["rejected"]]
    tools = len(json.dumps(row["tools"])) if "tools" in row else 0
    return tools + sum(len(message_text(message)) for side in sides for message in side)


def write_message_rows(rows: RowSequence, path: Path) -> None:
    """Write canonical rows as an Arrow file.

    Raises:
        OSError: The file can't be written.
    """
    import pyarrow

    schema = pyarrow.unify_schemas(rows.schemas(), promote_options="permissive")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file, pyarrow.ipc.new_file(file, schema) as writer:
        for batch in rows.batches():
            writer.write_batch(_widened(batch.arrow, schema))


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
    sides = tuple(name for name in reader.schema.names if name not in BESIDE)
    if sides not in SIDES.values() or not all(map(_is_ours, reader.schema)):
        raise ValueError(f"its columns are {', '.join(sides)[:200]}, not those of rows to train on")
    for batch in found:
        batch.validate(full=True)
        if any(_has_gaps(batch.column(side)) for side in sides):
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
    said = messages.flatten()[:2]
    return bool(lists.null_count or messages.null_count or any(part.null_count for part in said))


def _is_ours(field: Any) -> bool:
    import pyarrow

    if field.name in BESIDE:
        return field.type == pyarrow.large_string()
    return field.type in (_list_type(), _list_type(has_more=True))


def _list_type(*, has_more: bool = False) -> Any:
    import pyarrow

    fields = {"role": pyarrow.string(), "content": pyarrow.large_string()}
    return pyarrow.list_(pyarrow.struct({**fields, "more": pyarrow.large_string()} if has_more else fields))


def _widened(batch: Any, schema: Any) -> Any:
    """Return a batch with the columns and fields that other batches have besides, empty."""
    import pyarrow

    if batch.schema == schema:
        return batch
    columns: list[Any] = []
    for field in schema:
        column = batch.column(field.name) if field.name in batch.schema.names else None
        if column is None:
            column = pyarrow.nulls(batch.num_rows, field.type)
        elif column.type != field.type:
            roles, contents = column.flatten().flatten()
            ends = list(itertools.accumulate(column.value_lengths().to_pylist(), initial=0))
            column = list_column(ends, roles, contents, pyarrow.nulls(len(roles), pyarrow.large_string()))
        columns.append(column)
    return pyarrow.RecordBatch.from_arrays(columns, schema=schema)


def message_batch(rows: Sequence[Row]) -> Batch:
    """Return canonical rows, all of one format, as Arrow."""
    import pyarrow

    names = set(itertools.chain.from_iterable(rows))
    columns = {side: _column([row[side] for row in rows]) for side in sorted(names.difference(BESIDE))}
    for name in names.intersection(BESIDE):
        columns[name] = encode_cells([row.get(name, MISSING) for row in rows])
    return Batch(len(rows), pyarrow.RecordBatch.from_pydict({name: columns[name] for name in sorted(columns)}))


def _column(lists: Sequence[Sequence[dict[str, Any]]]) -> Any:
    import pyarrow

    said = list(itertools.chain.from_iterable(lists))
    roles = pyarrow.array([message["role"] for message in said], pyarrow.string())
    contents = pyarrow.array([message["content"] for message in said], pyarrow.large_string())
    more = None
    if any(len(message) > 2 for message in said):
        more = pyarrow.array(list(map(_more, said)), pyarrow.large_string())
    return list_column(list(itertools.accumulate(map(len, lists), initial=0)), roles, contents, more)


def list_column(ends: Any, roles: Any, contents: Any, more: Any = None) -> Any:
    """Return lists of messages as a column of canonical rows.

    Args:
        ends: Where each list begins among the messages, and where the last one ends.
        roles: `pyarrow.StringArray`: the role of each message.
        contents: `pyarrow.LargeStringArray`: what it says.
        more: `pyarrow.LargeStringArray`: what else it has, as JSON; None: no message has more.
    """
    import pyarrow

    parts = [roles, contents] if more is None else [roles, contents, more]
    messages = pyarrow.StructArray.from_arrays(parts, ["role", "content", "more"][: len(parts)])
    return pyarrow.ListArray.from_arrays(pyarrow.array(ends, pyarrow.int32()), messages)


def _more(message: dict[str, Any]) -> str | None:
    more = {key: value for key, value in message.items() if key not in ("role", "content")}
    return _json(more) if more else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def message_lists(column: Any) -> Sequence[Any]:
    """Return the lists of messages in a column; of a column beside them its values, `MISSING` where a row has none."""
    import pyarrow

    if not pyarrow.types.is_list(column.type):
        return decode_cells(column)
    roles, contents, *more = (part.to_pylist() for part in column.flatten().flatten())
    said: list[dict[str, Any]] = [
        {"role": role, "content": content} for role, content in zip(roles, contents, strict=True)
    ]
    for message, text in zip(said, more[0] if more else (), strict=bool(more)):
        if text is not None:
            message.update(json.loads(text))
    ends = list(itertools.accumulate(column.value_lengths().to_pylist(), initial=0))
    return [said[start:end] for start, end in itertools.pairwise(ends)]


def _array(messages: Sequence[dict[str, Any]]) -> str:
    return (
        "["
        + ",".join(
            [
                f'{{"content":{encode_basestring(message["content"])},"role":{encode_basestring(message["role"])}}}'
                if len(message) == 2
                else _json({key: message[key] for key in sorted(message)})
                for message in messages
            ]
        )
        + "]"
    )
