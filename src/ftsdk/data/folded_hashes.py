"""Hashes of many ASCII texts at once, the same for texts that differ by case and blanks alone."""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["BLANKS", "folded_hash", "folded_hashes"]

BLANKS = b" \t\n\r\v\f\x1c\x1d\x1e\x1f"
"""What `str.split` takes for blanks in ASCII."""
_LOWER = bytes(range(256)).lower()


def folded_hashes(texts: bytes, end: bytes) -> Any:
    """Return 64 bits of BLAKE2b of each text, in lower case and without blanks: a NumPy array of uint64.

    Args:
        texts: The texts, each followed by `end`.
        end: A byte that no text has.
    """
    import numpy

    blake2b = hashlib.blake2b
    folded = texts.translate(_LOWER, BLANKS).split(end)[:-1]
    digests = b"".join([blake2b(text, digest_size=8).digest() for text in folded])
    return numpy.frombuffer(digests, dtype="<u8").astype(numpy.uint64)


def folded_hash(text: str) -> int:
    """Return the same of one text."""
    content = text.encode("utf-8", "surrogatepass").translate(_LOWER, BLANKS)
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
