"""Hashes of many ASCII texts at once, the same for texts that differ by case and blanks alone."""

from __future__ import annotations

from typing import Any

__all__ = ["BLANKS", "folded_hash", "folded_hashes", "hash_of_bytes"]

BLANKS = b" \t\n\r\v\f\x1c\x1d\x1e\x1f"
"""What `str.split` takes for blanks in ASCII."""
_LOWER = bytes(range(256)).lower()
_64_BITS = (1 << 64) - 1


def folded_hashes(texts: bytes, end: bytes) -> Any:
    """Return the `hash_of_bytes` of each text, in lower case and without blanks: a NumPy array of uint64.

    Args:
        texts: The texts, each followed by `end`.
        end: A byte that no text has.
    """
    import numpy

    folded = texts.translate(_LOWER, BLANKS).split(end)[:-1]
    return numpy.fromiter(map(hash, folded), dtype=numpy.int64, count=len(folded)).view(numpy.uint64)


def folded_hash(text: str) -> int:
    """Return the same of one text."""
    return hash_of_bytes(text.encode("utf-8", "surrogatepass").translate(_LOWER, BLANKS))


def hash_of_bytes(content: bytes) -> int:
    """Return 64 bits of SipHash, whose key is another one in each process: nothing may be kept under it."""
    return hash(content) & _64_BITS
