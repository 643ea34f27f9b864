"""Canonical rows as JSON lines, made of Arrow's buffers: no row becomes Python on the way."""

from __future__ import annotations

from typing import Any

from ftsdk.data.message_columns import messages_of
from ftsdk.data.text_column import text_buffers

__all__ = ["arrow_lines"]

_FEWEST = 8
"""Rows of a batch from which on this is faster than a row at a time."""
_MARKS = bytes([0xC0, 0xC1, *range(0xF5, 0x100)])
"""UTF-8 has no such bytes, so they can stand for what lies between two contents until these are escaped."""
_ESCAPES = {
    **{code: b"\\u%04x" % code for code in range(0x20)},
    **{ord(sign): b"\\" + letter for sign, letter in (("\b", b"b"), ("\f", b"f"), ("\n", b"n"), ("\r", b"r"))},
    ord("\t"): b"\\t",
}


def arrow_lines(batch: Any) -> bytes | None:
    """Return the JSON lines of a batch of canonical rows, as `as_lines` writes them; None for a batch that is unusual.

    Args:
        batch: A `pyarrow.RecordBatch` with lists of messages.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as compute

    sides = sorted(batch.schema.names)
    columns = [batch.column(side) for side in sides]
    if batch.num_rows < _FEWEST or not all(map(_is_usual, columns)):
        return None
    parts = list(map(messages_of, columns))
    if any((part.counts == 0).any() for part in parts):
        return None
    roles = pa.concat_arrays([part.roles for part in parts]).dictionary_encode()
    names: list[str] = roles.dictionary.to_pylist()
    if not all(name.isascii() and name.isalpha() for name in names):
        return None
    # What comes after each message: by its side, whether it is the last one there, and its role.
    codes: list[Any] = []
    for number, part in enumerate(parts):
        is_last = np.zeros(len(part.contents), dtype=np.int32)
        is_last[part.last] = 1
        codes.append(2 * number + is_last)
    code = np.concatenate(codes) * len(names) + roles.indices.to_numpy()
    used, code = np.unique(code, return_inverse=True)
    if len(used) > len(_MARKS):
        return None
    contents = pa.concat_arrays([part.contents for part in parts]).cast(pa.large_binary())
    if len(sides) > 1:  # row by row, not side by side
        row = [np.repeat(np.arange(len(part.counts)), part.counts) for part in parts]
        order = np.argsort(np.concatenate(row), kind="stable")
        contents, code = contents.take(pa.array(order)), code[order]
    marks = pa.array([bytes([mark]) for mark in _MARKS[: len(used)]], pa.large_binary()).take(pa.array(code))
    joined = compute.call_function("binary_join_element_wise", [contents, marks, pa.scalar(b"", pa.large_binary())])
    opening, ends = _wording(sides, names)
    return _written(text_buffers(joined)[1].tobytes(), opening, [ends[number] for number in used.tolist()])


def _is_usual(column: Any) -> bool:
    import pyarrow as pa

    kind = pa.list_(pa.struct({"role": pa.string(), "content": pa.large_string()}))
    return column.type == kind and not column.null_count


def _wording(sides: list[str], roles: list[str]) -> tuple[str, list[str]]:
    """Return what a line begins with, and what comes after a message, by its code."""
    openings = [f'"{side}":[{{"content":"' for side in sides]
    ends: list[str] = []
    for following in [*openings[1:], None]:
        ends += [f'","role":"{role}"}},{{"content":"' for role in roles]
        after = f"],{following}" if following else f"]}}\n{{{openings[0]}"
        ends += [f'","role":"{role}"}}{after}' for role in roles]
    return "{" + openings[0], ends


def _written(content: bytes, opening: str, ends: list[str]) -> bytes:
    """Return marked contents as JSON."""
    import numpy as np

    content = content.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    signs = np.frombuffer(content, dtype=np.uint8)
    for code in np.flatnonzero(np.bincount(signs[signs < 0x20])).tolist():
        content = content.replace(bytes([code]), _ESCAPES[code])
    for mark, end in zip(_MARKS, ends, strict=False):
        content = content.replace(bytes([mark]), end.encode())
    return opening.encode() + content[: len(content) - len(opening)]
