"""Texts as bytes in one buffer, so that numpy can tell in which rows a rule is worth trying.

Regular expressions over a million texts take minutes in Python. What they look for starts with bytes that are rare in
prose: `@`, seven digits close together, a token of twenty letters. One pass over the bytes finds the rows that have
them; only those are read by a regular expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes: TypeAlias = NDArray[np.uint8]
    Flags: TypeAlias = NDArray[np.bool_]
    Positions: TypeAlias = NDArray[np.int64]

__all__ = ["Block", "blocks_of", "byte_classes", "map_blocks"]

_ROWS = 1_024
"""Rows in a block: large enough for numpy's loops, small enough for the processor's second cache."""
_THREADS = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive texts, and their UTF-8 bytes in one array."""

    first: int
    """Position of its first text among all texts."""
    texts: Sequence[str]
    raw: bytes
    """The UTF-8 bytes of all texts, with a line break after each."""
    starts: Positions
    """Where each text starts in `raw`."""

    def rows_at(self, offsets: Positions) -> list[int]:
        """Return the positions within the block of the texts that hold these offsets, ascending, each once."""
        import numpy as np

        if not len(offsets):
            return []
        return np.unique(np.searchsorted(self.starts, offsets, side="right") - 1).tolist()

    def rows_at_any(self, *parts: bytes) -> list[int]:
        """Return the positions within the block of the texts that hold one of these parts, ascending, each once."""
        import numpy as np

        return self.rows_at(np.array([at for part in parts for at in _found(self.raw, part)], dtype=np.int64))


def map_blocks(texts: Sequence[str], work: Callable[[Block], T]) -> Iterator[T]:
    """Call a function on every block of the texts, on two threads, and return the results in order.

    Args:
        texts: The texts. Lone surrogates are allowed.
        work: What to do; numpy releases the interpreter's lock, so two blocks are worked on at once.
    """

    def worked_on(first: int) -> T:
        return work(_block(texts, first))

    firsts = range(0, len(texts), _ROWS)
    if len(firsts) < 2:
        yield from map(worked_on, firsts)
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(worked_on, firsts)


def blocks_of(texts: Sequence[str]) -> Iterator[Block]:
    """Yield the blocks of texts, for callers that have threads of their own."""
    return (_block(texts, first) for first in range(0, len(texts), _ROWS))


def byte_classes(characters: Mapping[int, str]) -> bytes:
    """Return a table for `bytes.translate` that maps each byte to the sum of its classes.

    Args:
        characters: By class, a power of two up to 128, its ASCII characters.
    """
    table = bytearray(256)
    for flag, members in characters.items():
        for byte in members.encode("ascii"):
            table[byte] |= flag
    return bytes(table)


def _found(content: bytes, part: bytes) -> Iterator[int]:
    at = content.find(part)
    while at >= 0:
        yield at
        at = content.find(part, at + len(part))


def _block(texts: Sequence[str], first: int) -> Block:
    import numpy as np

    part = texts[first : first + _ROWS]
    joined = "\n".join(part)
    lengths: Any
    if joined.isascii():
        encoded = joined.encode("ascii")
        lengths = np.fromiter(map(len, part), dtype=np.int64, count=len(part))
    else:
        rows = [text.encode("utf-8", "surrogatepass") for text in part]
        encoded = b"\n".join(rows)
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    starts = np.zeros(len(part), dtype=np.int64)
    np.cumsum(lengths[:-1] + 1, out=starts[1:])
    return Block(first, part, encoded, starts)
