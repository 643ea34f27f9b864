"""The exact Jaccard similarity and containment of pairs of texts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftsdk.data.duplicates.shingles import Hashes, Positions, Shingled, Shingles, batches, without
from ftsdk.data.in_threads import in_threads

__all__ = ["Similarity"]

# Of a key, the upper bits number the text or the pair in its batch, and the lower ones are the n-gram's hash.
_HASH_BITS = np.uint64(44)
_HASH_MASK = np.uint64((1 << 44) - 1)


class Similarity:
    """How similar rows of some texts are, by their sets of n-grams."""

    def __init__(self, texts: Shingled, common: Hashes) -> None:
        """Measure rows of `texts`.

        Args:
            texts: The texts of all rows.
            common: Sorted hashes of n-grams that don't count.
        """
        self._texts = texts
        self._common = common

    def jaccard(self, left: Positions, right: Positions) -> NDArray[np.float64]:
        """Return the Jaccard similarity of each pair of rows: n-grams that both have, of those that either has."""
        cut = batches(self._texts.sizes[left] + self._texts.sizes[right])
        parts = list(in_threads(lambda part: self._jaccard(left[slice(*part)], right[slice(*part)]), cut))
        return np.concatenate(parts) if parts else np.empty(0)

    def _jaccard(self, left: Positions, right: Positions) -> NDArray[np.float64]:
        rows, index = np.unique(np.concatenate((left, right)), return_inverse=True)
        sets = _as_sets(without(self._texts.at(rows), self._common))
        one, other = index[: len(left)], index[len(left) :]
        both = np.bincount(_shared(sets, one, other), minlength=len(left))
        either = sets.counts[one] + sets.counts[other] - both
        return both / np.maximum(either, 1)


def _as_sets(shingles: Shingles) -> Shingles:
    """Return each text's distinct n-grams, ascending."""
    numbers = np.repeat(np.arange(len(shingles.counts), dtype=np.uint64), shingles.counts)
    keys = (numbers << _HASH_BITS) | (shingles.hashes & _HASH_MASK)
    keys.sort()  # several times as fast as np.unique, which hashes
    keys = keys[np.diff(keys, prepend=~keys[:1]) != 0]
    offsets = np.searchsorted(keys, np.arange(len(shingles.counts) + 1, dtype=np.uint64) << _HASH_BITS)
    return Shingles(keys & _HASH_MASK, offsets.astype(np.int64))


def _shared(sets: Shingles, one: Positions, other: Positions) -> Positions:
    """Return, for each n-gram that both rows of a pair have, the number of the pair."""
    keys = np.concatenate((_keys(sets, one), _keys(sets, other)))
    keys.sort()
    return (keys[1:][keys[1:] == keys[:-1]] >> _HASH_BITS).astype(np.int64)


def _keys(sets: Shingles, rows: Positions) -> Hashes:
    counts = sets.counts[rows]
    ends = np.cumsum(counts)
    places = np.repeat(sets.offsets[rows] - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)
    numbers = np.repeat(np.arange(len(rows), dtype=np.uint64), counts)
    return (numbers << _HASH_BITS) | sets.hashes[places]
