"""What the messages of an Arrow stream expand to, read off their headers before anything is unpacked.

pyarrow allocates whatever a compressed buffer says that it expands to, and has no limit for it.
Source: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc and
https://github.com/apache/arrow/blob/main/format/Message.fbs, read 2026-11-27.
"""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["expanded_size"]

_DICTIONARY, _RECORDS = 2, 3
"""Kinds of messages (`MessageHeader`) that have a body."""
_KIND, _HEADER = 1, 2
"""Fields of `Message`."""
_DATA = 1
"""Field of `DictionaryBatch`: a `RecordBatch`."""
_BUFFERS, _COMPRESSION = 2, 3
"""Fields of `RecordBatch`."""


def expanded_size(stream: Any) -> int:
    """Return the bytes of all compressed buffers of an Arrow stream (a `pyarrow.Buffer`) once they are unpacked.

    Raises:
        pyarrow.ArrowException: It isn't such a stream.
        OSError: Likewise.
        ValueError: A message's header is damaged.
    """
    import pyarrow

    total = 0
    reader = pyarrow.ipc.MessageReader.open_stream(pyarrow.BufferReader(stream))
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return total
        try:
            total += _expanded(message.metadata.to_pybytes(), message.body)
        except (struct.error, IndexError, RecursionError) as error:
            raise ValueError("the header of a message is damaged") from error


def _expanded(header: bytes, body: Any) -> int:
    message = _uint32(header, 0)
    kind, place = _field(header, message, _KIND), _field(header, message, _HEADER)
    if kind is None or place is None or header[kind] not in (_DICTIONARY, _RECORDS):
        return 0
    batch = place + _uint32(header, place)
    if header[kind] == _DICTIONARY:
        data = _field(header, batch, _DATA)
        if data is None:
            return 0
        batch = data + _uint32(header, data)
    buffers = _field(header, batch, _BUFFERS)
    if buffers is None or _field(header, batch, _COMPRESSION) is None:
        return 0
    start = buffers + _uint32(header, buffers)
    content = memoryview(body)
    total = 0
    for number in range(_uint32(header, start)):
        offset, length = struct.unpack_from("<qq", header, start + 4 + 16 * number)
        if offset < 0 or length < 0:
            raise ValueError("a buffer lies outside of its message")
        if length >= 8:  # -1: this one isn't compressed
            total += max(0, struct.unpack_from("<q", content, offset)[0])
    return total


def _field(header: bytes, table: int, number: int) -> int | None:
    """Return where the value of a table's field is; None if it has the default."""
    layout = table - struct.unpack_from("<i", header, table)[0]
    if layout < 0:
        raise ValueError("a table lies outside of its message")
    place = 4 + 2 * number
    if place >= struct.unpack_from("<H", header, layout)[0]:
        return None
    offset = struct.unpack_from("<H", header, layout + place)[0]
    return table + offset if offset else None


def _uint32(header: bytes, at: int) -> int:
    return struct.unpack_from("<I", header, at)[0]
