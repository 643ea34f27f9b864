"""Cheap tests of bytes: the rows in which a kind of value is possible at all."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from ftsdk.data.byte_scan import Block, byte_classes
from ftsdk.data.privacy.kind import Gate

if TYPE_CHECKING:
    from ftsdk.data.byte_scan import Bytes, Flags, Positions

__all__ = ["TOKEN_LENGTH", "rows_by_gate"]

TOKEN_LENGTH = 20
"""Letters, digits, `-`, `_` and `+` in a row that make a token worth a look. English has hardly a word so long."""
_DIGITS_CLOSE = 7
_DIGITS_GAP = 7
"""Bytes from one digit to the next: three separators, each of at most three bytes less one."""

_DIGIT, _HEX, _LETTER, _TOKEN, _AT, _DOT, _COLON, _DASH = (1 << bit for bit in range(8))
_CLASSES = byte_classes(
    {
        _DIGIT: string.digits,
        _HEX: string.hexdigits,
        _LETTER: string.ascii_letters,
        _TOKEN: string.ascii_letters + string.digits + "-_+",
        _AT: "@",
        _DOT: ".",
        _COLON: ":",
        _DASH: "-",
    }
)


def rows_by_gate(block: Block) -> dict[Gate, list[int]]:
    """Return for each gate the positions within the block of the texts that pass it."""
    import numpy as np

    classes = np.frombuffer(block.raw.translate(_CLASSES), dtype=np.uint8)
    rare = _where(classes, _DIGIT | _AT | _DOT | _COLON | _DASH)
    kinds = classes[rare]
    digits, dashes = _of(rare, kinds, _DIGIT), _of(rare, kinds, _DASH)
    inner = digits[(digits > 1) & (digits < len(classes) - 1)]
    found: dict[Gate, Positions] = {
        "at": _of(rare, kinds, _AT),
        "digits": _chain(digits, _DIGITS_CLOSE, _DIGITS_GAP),
        "iban": inner[(classes[inner - 1] & classes[inner - 2] & _LETTER & (classes[inner + 1] << 2)).astype(bool)],
        "date": _close(digits, marks=4, span=3),
        "dotted": _close(_between(classes, _of(rare, kinds, _DOT), _DIGIT), marks=3, span=8),
        "colons": _close(_between(classes, _of(rare, kinds, _COLON), _HEX | _COLON), marks=2, span=10),
        "dashed": _close(_between(classes, dashes, _HEX), marks=5, span=12),
        "begin": _close(dashes, marks=5, span=4),
        "token": np.flatnonzero(_runs((classes & _TOKEN) != 0, TOKEN_LENGTH)),
    }
    return {gate: block.rows_at(offsets) for gate, offsets in found.items()}


def _where(classes: Bytes, mask: int) -> Positions:
    import numpy as np

    return np.flatnonzero((classes & mask) != 0)  # several times as fast on truth values as on numbers


def _of(at: Positions, kinds: Bytes, mask: int) -> Positions:
    """Return those of some offsets whose byte is in a class, given the classes of each."""
    return at[(kinds & mask) != 0]


def _between(classes: Bytes, at: Positions, neighbours: int) -> Positions:
    """Return those of some offsets that are between two bytes of a class."""
    at = at[(at > 0) & (at < len(classes) - 1)]
    return at[((classes[at - 1] & neighbours) != 0) & ((classes[at + 1] & neighbours) != 0)]


def _close(at: Positions, *, marks: int, span: int) -> Positions:
    """Return the offsets from which a number of marks follow within a span of bytes, themselves included."""
    if len(at) < marks:
        return at[:0]
    return at[: len(at) - marks + 1][at[marks - 1 :] - at[: len(at) - marks + 1] <= span]


def _chain(at: Positions, marks: int, gap: int) -> Positions:
    """Return the offsets from which a number of marks follow, each at most a gap behind the one before."""
    import numpy as np

    if len(at) < marks:
        return at[:0]
    return at[: len(at) - marks + 1][_runs(np.diff(at) <= gap, marks - 1)]


def _runs(flags: Flags, length: int) -> Flags:
    """Return where a run of at least a number of true values starts, by doubling."""
    done = 1
    while done < length:
        step = min(done, length - done)
        flags = flags[:-step] & flags[step:]
        done += step
    return flags
