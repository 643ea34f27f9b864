"""Cheap tests of bytes: the rows in which a kind of value is possible at all."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from ftsdk.data.byte_scan import Block, byte_table
from ftsdk.data.privacy.kind import Gate

if TYPE_CHECKING:
    from ftsdk.data.byte_scan import Bytes, Positions

__all__ = ["TOKEN_LENGTH", "rows_by_gate"]

TOKEN_LENGTH = 20
"""Letters, digits, `-`, `_` and `+` in a row that make a token worth a look. English has hardly a word so long."""
_TOKEN = string.ascii_letters + string.digits + "-_+"
_DIGITS_CLOSE = 7
_DIGITS_SPAN = 36
"""Bytes within which seven digits count as close: up to four separators between each two, and some of several bytes."""


def rows_by_gate(block: Block) -> dict[Gate, list[int]]:
    """Return for each gate the positions within the block of the texts that pass it."""
    import numpy as np

    data = block.data
    is_digit = (data - 48) < 10  # unsigned: what is below "0" wraps around
    digits = np.flatnonzero(is_digit)
    found: dict[Gate, Positions] = {
        "at": np.flatnonzero(data == ord("@")),
        "digits": digits[: -_DIGITS_CLOSE + 1][
            digits[_DIGITS_CLOSE - 1 :] - digits[: -_DIGITS_CLOSE + 1] <= _DIGITS_SPAN
        ]
        if len(digits) >= _DIGITS_CLOSE
        else digits[:0],
        "date": digits[:-3][digits[3:] - digits[:-3] == 3] if len(digits) > 3 else digits[:0],
        "dotted": _close(_between(data, ".", is_digit), marks=3, span=8),
        "token": _long_tokens(data),
    }
    is_hex = byte_table(string.hexdigits + ":")[data] if (data == ord(":")).any() else is_digit
    found["colons"] = _close(_between(data, ":", is_hex), marks=2, span=10)
    dashes = _between(data, "-", is_hex if is_hex is not is_digit else byte_table(string.hexdigits)[data])
    found["dashed"] = _close(dashes, marks=5, span=12)
    dash = np.flatnonzero(data == ord("-"))
    found["begin"] = _close(dash, marks=5, span=4)
    return {gate: block.rows_at(offsets) for gate, offsets in found.items()}


def _between(data: Bytes, mark: str, is_neighbour: Bytes) -> Positions:
    """Return where a mark stands between two bytes of a class."""
    import numpy as np

    at = np.flatnonzero(data == ord(mark))
    at = at[(at > 0) & (at < len(data) - 1)]
    return at[is_neighbour[at - 1].astype(bool) & is_neighbour[at + 1].astype(bool)]


def _close(at: Positions, *, marks: int, span: int) -> Positions:
    """Return the offsets from which a number of marks follow within a span of bytes, themselves included."""
    if len(at) < marks:
        return at[:0]
    return at[: len(at) - marks + 1][at[marks - 1 :] - at[: len(at) - marks + 1] <= span]


def _long_tokens(data: Bytes) -> Positions:
    """Return where tokens of at least `TOKEN_LENGTH` bytes end."""
    import numpy as np

    breaks = np.flatnonzero(~byte_table(_TOKEN)[data])
    if not len(breaks):
        return breaks if len(data) < TOKEN_LENGTH else np.zeros(1, dtype=np.int64)
    lengths = np.diff(breaks, prepend=-1, append=len(data)) - 1
    # The token before a break belongs to the text of the byte before the break.
    ends = np.append(breaks, len(data)) - 1
    return ends[lengths >= TOKEN_LENGTH]
