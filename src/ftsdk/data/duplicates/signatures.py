"""MinHash signatures of texts, as the keys of LSH bands: similar texts share a key in some band."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]

from ftsdk.data.duplicates.shingles import Hashes, Positions, Shingled, Shingles, batches, without
from ftsdk.data.in_threads import in_threads

__all__ = ["BANDS", "Signatures", "sign"]

BANDS = 16
_ROWS = 4
"""Hashes of a band. With 16 bands of 4, two texts of Jaccard similarity 0.7 share a key with probability 0.988, of
0.8 with 0.9998, of 0.3 with 0.12; see `docs/explanation/duplicates.md`."""
_SEED = 42
_Keys = NDArray[np.uint32]
"""Of a million rows, some hundred pairs share a key of 32 bits by chance in each band; a candidate is verified."""


class Signatures(NamedTuple):
    """The signatures of the texts that are long enough."""

    positions: Positions
    """The rows, ascending."""
    bands: NDArray[np.uint32]
    """The key of each row in each band, shape (bands, rows)."""
    contents: Hashes
    """Equal for rows with the same n-grams."""


def sign(texts: Shingled, common: Hashes, *, at_least: int) -> Signatures:
    """Return the signatures of texts.

    Args:
        texts: The texts of all rows, read in batches.
        common: Sorted hashes of n-grams that don't count.
        at_least: Texts with fewer n-grams are left out.
    """
    rows_in_all = len(texts.sizes)
    bands = np.empty((BANDS, rows_in_all), dtype=np.uint32)
    contents = np.empty(rows_in_all, dtype=np.uint64)
    positions = np.empty(rows_in_all, dtype=np.int64)

    def signed(batch: tuple[int, int]) -> tuple[Positions, _Keys, Hashes]:
        rows = np.arange(*batch)
        shingles = without(texts.at(rows), common)
        is_long = shingles.counts >= max(at_least, 1)
        shingles = _those(shingles, is_long)
        if not is_long.any():
            return rows[:0], np.empty((0, BANDS), dtype=np.uint32), np.empty(0, dtype=np.uint64)
        return rows[is_long], _band_keys(shingles), np.add.reduceat(shingles.hashes, shingles.offsets[:-1])

    filled = 0
    for rows, keys, found in in_threads(signed, batches(texts.sizes)):
        end = filled + len(rows)
        bands[:, filled:end] = keys.T
        contents[filled:end] = found
        positions[filled:end] = rows
        filled = end
    return Signatures(positions[:filled], bands[:, :filled], contents[:filled])


def _those(shingles: Shingles, is_chosen: NDArray[np.bool_]) -> Shingles:
    if is_chosen.all():
        return shingles
    counts = shingles.counts
    hashes = shingles.hashes[np.repeat(is_chosen, counts)]
    return Shingles(hashes, np.concatenate(([0], np.cumsum(counts[is_chosen]))))


def _band_keys(shingles: Shingles) -> _Keys:
    offsets = shingles.offsets.astype(np.uint64)
    digests = RMinHash.digest_matrix_from_flat_token_hashes(shingles.hashes, offsets, BANDS * _ROWS, _SEED)
    flat = array("I")
    for digest in digests.to_rows():
        flat.fromlist(digest)
    halves = np.frombuffer(flat, dtype=np.uint32).view(np.uint64).reshape(-1, BANDS, 2)
    mixed = halves[..., 0] * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed += halves[..., 1]
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(32)).astype(np.uint32)
