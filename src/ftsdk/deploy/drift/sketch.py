"""A text as counts of hashed letter triples: enough to see that texts have changed, and not enough to read them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import unicodedata
from typing import Any

__all__ = ["BUCKETS", "answer_bucket", "decode_sketch", "sketch"]

BUCKETS = 64
"""How many counts a text becomes."""
_LONGEST = 4_000
"""Characters that are read of each text."""
_LONGEST_ANSWER = 200
"""Characters of an answer that may be a label, as `ftsdk.data.labels` has it."""
_MOST = 255


def sketch(text: str) -> str:
    """Return the counts of a text's letter triples in 64 buckets, one byte each, as base64; empty for short texts.

    Long texts are scaled down, so that the largest count fits into a byte.

    Args:
        text: Any text; its first 4,000 characters are read, without regard to case.
    """
    import numpy as np

    letters = np.frombuffer(
        " ".join(text[:_LONGEST].casefold().split()).encode("utf-32-le", "surrogatepass"), dtype=np.uint32
    )
    if len(letters) < 3:
        return ""
    # Multiplicative hashing: odd constants, the highest six bits.
    triples = (
        letters[:-2] * np.uint32(0x9E3779B1)
        ^ letters[1:-1] * np.uint32(0x85EBCA77)
        ^ letters[2:] * np.uint32(0xC2B2AE3D)
    ) * np.uint32(0x27D4EB2F)
    counts = np.bincount(triples >> np.uint32(26), minlength=BUCKETS)
    if counts.max() > _MOST:
        counts = np.rint(counts * (_MOST / counts.max()))
    return base64.b64encode(counts.astype(np.uint8).tobytes()).decode()


def decode_sketch(text: object) -> Any:
    """Return a sketch as a vector of length 1: square roots of shares, shape (64,); None if it isn't one."""
    import numpy as np

    if not isinstance(text, str) or not text:
        return None
    try:
        counts = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8).astype(np.float64)
    except (binascii.Error, ValueError):
        return None
    return np.sqrt(counts / counts.sum()) if counts.shape == (BUCKETS,) and counts.any() else None


def answer_bucket(answer: str) -> int | None:
    """Return which of 65,536 buckets a short answer falls into, without regard to case and blanks; None for a long one.

    It tells known labels apart, and doesn't tell what an unknown answer was.
    """
    folded = " ".join(unicodedata.normalize("NFKC", answer).casefold().split())
    if not folded or len(folded) > _LONGEST_ANSWER:
        return None
    return int.from_bytes(hashlib.blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=2).digest(), "big")
