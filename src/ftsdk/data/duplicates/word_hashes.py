"""Hashes of many words at once, by NumPy: words that came before are looked up by their bytes, eight at a time."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["word_bounds", "word_hashes"]

Hashes = NDArray[np.uint64]
Positions = NDArray[np.int64]

_EIGHT = 8
_MASKS = np.array([(1 << (8 * count)) - 1 for count in range(_EIGHT + 1)], dtype=np.uint64)
"""Of eight bytes, keeps the first ones."""
_SLOT_BITS = 18
_FIRST, _OTHER = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0xC2B2AE3D27D4EB4F)
"""A word has two slots, by the first bits of its key times one of these."""

_keys: Hashes = np.zeros(1 << _SLOT_BITS, dtype=np.uint64)
_hashes: Hashes = np.zeros(1 << _SLOT_BITS, dtype=np.uint64)
"""The hashes of words, since most words of a batch were in the one before: by key. A slot is filled once, the
hash before the key, so that threads that only read need no lock."""
_filling = threading.Lock()


def word_bounds(content: NDArray[np.uint8]) -> tuple[Positions, Positions]:
    """Return where the words of ASCII text begin and end.

    Args:
        content: The text, with a blank at its end. Blanks are those of `pyarrow.compute.ascii_split_whitespace`.
    """
    is_word = (content != ord(" ")) & ((content - np.uint8(9)) > 4)
    edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    if len(is_word) and is_word[0]:
        edges = np.concatenate(([0], edges))
    return edges[::2], edges[1::2]


def word_hashes(content: NDArray[np.uint8], starts: Positions, ends: Positions) -> Hashes:
    """Return the first eight bytes of the BLAKE2b of each word.

    Args:
        content: The bytes that hold the words.
        starts: Where each word begins.
        ends: Where each word ends.
    """
    keys = _word_keys(content, starts, ends - starts)
    # The key of a slot is read before its hash, and written after it.
    slots = _slots(keys)
    missing = np.flatnonzero(_keys[slots] != keys)
    hashes = _hashes[slots]
    if len(missing):
        other = _slots(keys[missing], _OTHER)
        is_missing = _keys[other] != keys[missing]
        hashes[missing] = _hashes[other]
        missing = missing[is_missing]
    if len(missing):
        found, first, place = np.unique(keys[missing], return_index=True, return_inverse=True)
        hashed = _hashed(content, starts[missing[first]], ends[missing[first]])
        hashes[missing] = hashed[place]
        with _filling:
            _remember(found, hashed)
    return hashes


def _word_keys(content: NDArray[np.uint8], starts: Positions, lengths: Positions) -> Hashes:
    """Return 64 bits for each word that depend on all of its bytes and their number; never 0."""
    padded = np.concatenate((content, np.zeros(_EIGHT, dtype=np.uint8)))
    windows: Any = np.ndarray(shape=(len(content) + 1,), dtype="<u8", buffer=padded, strides=(1,))
    keys = windows[starts] & _MASKS[np.minimum(lengths, _EIGHT)]
    keys += lengths.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    rest = np.flatnonzero(lengths > _EIGHT)
    done = _EIGHT
    while len(rest):
        more = windows[starts[rest] + done] & _MASKS[np.minimum(lengths[rest] - done, _EIGHT)]
        keys[rest] = _mixed(keys[rest] * np.uint64(0xD6E8FEB86659FD93) + more)
        done += _EIGHT
        rest = rest[lengths[rest] > done]
    return np.maximum(keys, np.uint64(1))


def _mixed(values: Hashes) -> Hashes:
    values ^= values >> np.uint64(32)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(29)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(32)
    return values


def _hashed(content: NDArray[np.uint8], starts: Positions, ends: Positions) -> Hashes:
    text = content.tobytes()
    bounds = zip(starts.tolist(), ends.tolist(), strict=True)
    digests = [hashlib.blake2b(text[start:end], digest_size=8).digest() for start, end in bounds]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _remember(keys: Hashes, hashes: Hashes) -> None:
    for factor in (_FIRST, _OTHER):
        slots, first = np.unique(_slots(keys, factor), return_index=True)
        is_free = _keys[slots] == 0
        slots, first = slots[is_free], first[is_free]
        _hashes[slots] = hashes[first]
        _keys[slots] = keys[first]
        is_left = np.ones(len(keys), dtype=np.bool_)
        is_left[first] = False
        keys, hashes = keys[is_left], hashes[is_left]


def _slots(keys: Hashes, factor: np.uint64 = _FIRST) -> Positions:
    return ((keys * factor) >> np.uint64(64 - _SLOT_BITS)).astype(np.int64)
