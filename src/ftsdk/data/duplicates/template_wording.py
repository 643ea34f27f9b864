"""N-grams that many texts share: the wording of a template, which makes no row a copy of another."""

from __future__ import annotations

import numpy as np

from ftsdk.data.duplicates.shingles import Hashes, Shingled, batches, distinct_owners

__all__ = ["NOTHING_COMMON", "common_shingles"]

NOTHING_COMMON: Hashes = np.empty(0, dtype=np.uint64)

SAMPLE = 4_000


def common_shingles(texts: Shingled, *, share: float, at_least: int) -> Hashes:
    """Return the hashes of n-grams that occur in many different texts, ascending.

    Of more than 4,000 rows, 4,000 are looked at, at equal distances.

    Args:
        texts: The texts of the rows.
        share: The share of the different texts, above which an n-gram is common.
        at_least: Different texts that it must occur in.
    """
    rows = len(texts.sizes)
    positions = np.unique(np.linspace(0, rows - 1, min(rows, SAMPLE)).astype(np.int64))
    sizes = texts.sizes[positions]
    contents: list[Hashes] = []
    hashes: list[Hashes] = []
    owners: list[Hashes] = []
    for start, stop in batches(sizes):
        shingles = texts.at(positions[start:stop])
        is_long = shingles.counts > 0
        if not is_long.any():
            continue
        found = np.add.reduceat(shingles.hashes, shingles.offsets[:-1][is_long])
        contents.append(found)
        hashes.append(shingles.hashes)
        owners.append(np.repeat(found, shingles.counts[is_long]))
    if not contents:
        return NOTHING_COMMON
    # Equal texts count once: each n-gram with what its text holds.
    owned, _ = distinct_owners(np.concatenate(hashes), np.concatenate(owners))
    found, counts = np.unique(owned, return_counts=True)
    different = len(np.unique(np.concatenate(contents)))
    # The sample stands for all: a number of rows is scaled down with them.
    fewest = at_least * len(positions) / rows
    return found[(counts > share * different) & (counts >= max(fewest, min(at_least, 5)))]
