"""Texts that are almost the same: pairs found by MinHash and verified, and the clusters that they form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ftsdk.data.duplicates.components import Components
from ftsdk.data.duplicates.limits import MIN_WORDS
from ftsdk.data.duplicates.shingles import (
    CharacterShingles,
    Hashes,
    Positions,
    Shingler,
    Texts,
    WordShingles,
    read_texts,
    text_sizes,
)
from ftsdk.data.duplicates.signatures import Signatures, sign
from ftsdk.data.duplicates.similarity import Similarity
from ftsdk.data.duplicates.template_wording import NOTHING_COMMON, common_shingles

__all__ = ["NearDuplicates", "SimilarPair", "near_duplicates", "similar_short_texts", "split_clusters"]

_FULLY_COMPARED = 8
"""In a bucket of at most so many texts, each is compared with each."""

_FEW_LEADERS_ABOVE = 1_000
"""In larger buckets, each text is compared with two others at most."""


class SimilarPair(NamedTuple):
    """Two rows with similar texts."""

    position: int
    """The row that comes first."""
    other: int
    similarity: float
    """The Jaccard similarity of their n-grams, from 0 to 1: measured, not estimated."""


class NearDuplicates(NamedTuple):
    """Rows whose texts are almost the same."""

    clusters: tuple[tuple[int, ...], ...]
    """Rows that are linked by pairs, ascending, in the order of their first rows; each cluster has at least two."""
    pairs: tuple[SimilarPair, ...]
    """The pairs that link the clusters: enough to explain each, not all that there are."""


def near_duplicates(
    texts: Texts, *, threshold: float = 0.7, min_words: int = MIN_WORDS, ignore_templates: bool = False
) -> NearDuplicates:
    """Return the clusters of rows whose texts are near-duplicates, the exact ones included.

    Candidates come from MinHash signatures (64 hashes in 16 bands) of the words' 3-grams, where case and blanks don't
    count; each is verified by its true Jaccard similarity. Deterministic; another order of the rows gives the same
    clusters. Takes about 300 bytes a row beside the texts.

    Args:
        texts: The texts of the rows: the columns that the data came with rather than a rendered prompt, whose template
            is the same in all rows. A sequence, or a pyarrow array.
        threshold: The least Jaccard similarity of a pair, above 0 and at most 1. Below 0.6, pairs are missed.
        min_words: Texts with fewer words are in no cluster; at least 3.
        ignore_templates: Leave out wording that more than half of the different texts share.

    Raises:
        ValueError: `threshold` or `min_words` is out of range.
    """
    if not 0 < threshold <= 1 or min_words < 3:
        raise ValueError(f"threshold={threshold!r} must be above 0 and at most 1, min_words={min_words!r} at least 3")
    shingler = WordShingles()
    common = common_shingles(texts, shingler, share=0.5, at_least=5) if ignore_templates else NOTHING_COMMON
    return _near(texts, shingler, common, threshold, at_least=min_words - shingler.n + 1)


def similar_short_texts(
    texts: Texts, *, threshold: float = 0.6, max_words: int = MIN_WORDS - 1
) -> tuple[SimilarPair, ...]:
    """Return pairs of rows with short, similar texts, by the Jaccard similarity of their characters' 4-grams.

    For a report only: "transfer $5 from savings" and "transfer $9 from savings" are such a pair, and no duplicates.
    Finds 92 % of the one-word edits of CLINC150's 8-word messages. Equal texts are in no pair.

    Args:
        texts: The texts of the rows.
        threshold: The least similarity of a pair.
        max_words: Texts with more words are left out.
    """
    short: list[int] = []
    for start in range(0, len(texts), 16_384):
        rows = np.arange(start, min(start + 16_384, len(texts)))
        words = [len(text.split()) for text in read_texts(texts, rows).to_pylist()]
        short += [int(row) for row, count in zip(rows, words, strict=True) if count <= max_words]
    positions = np.array(short, dtype=np.int64)
    chosen = read_texts(texts, positions)
    found = _near(chosen, CharacterShingles(), NOTHING_COMMON, threshold, at_least=1)
    pairs = [SimilarPair(short[one], short[other], similarity) for one, other, similarity in found.pairs]
    return tuple(pair for pair in pairs if pair.similarity < 1)


def split_clusters(texts: Texts, *, threshold: float = 0.7) -> tuple[tuple[int, ...], ...]:
    """Return the clusters that a split keeps together.

    As `near_duplicates` with `ignore_templates`, but a cluster of more than 20 rows and more than 5 % of all is taken
    for rows of one template: wording that more than half of its texts share is left out, and the rest is compared anew.
    """
    found = near_duplicates(texts, threshold=threshold, ignore_templates=True)
    most = max(20, len(texts) // 20)
    clusters: list[tuple[int, ...]] = []
    for cluster in found.clusters:
        if len(cluster) <= most:
            clusters.append(cluster)
            continue
        inside = read_texts(texts, np.array(cluster, dtype=np.int64))
        again = near_duplicates(inside, threshold=threshold, ignore_templates=True)
        parts = [tuple(cluster[position] for position in part) for part in again.clusters]
        clusters += [part for part in parts if len(part) <= most]
    return tuple(sorted(clusters))


def _near(texts: Texts, shingler: Shingler, common: Hashes, threshold: float, *, at_least: int) -> NearDuplicates:
    sizes = text_sizes(texts)
    signatures = sign(texts, sizes, shingler, common, at_least=at_least)
    similarity = Similarity(texts, sizes, shingler, common)
    # One row stands for all with the same content. In the order of contents, so that the order of rows doesn't matter.
    _, first, content_of = np.unique(signatures.contents, return_index=True, return_inverse=True)
    representatives = signatures.positions[first]
    components = Components(len(first))
    pairs = [
        SimilarPair(int(representatives[content_of[place]]), int(signatures.positions[place]), 1.0)
        for place in np.flatnonzero(first[content_of] != np.arange(len(content_of))).tolist()
    ]
    for left, right in _candidates(signatures, first, components):
        measured = similarity.jaccard(representatives[left], representatives[right])
        is_near = measured >= threshold
        components.join(left[is_near], right[is_near])
        near = zip(representatives[left[is_near]], representatives[right[is_near]], measured[is_near], strict=True)
        pairs += [SimilarPair(int(min(pair)), int(max(pair)), float(found)) for *pair, found in near]
    return NearDuplicates(_clusters(components.roots()[content_of], signatures.positions), tuple(sorted(pairs)))


def _clusters(roots: Positions, positions: Positions) -> tuple[tuple[int, ...], ...]:
    order = np.argsort(roots, kind="stable")
    starts = np.flatnonzero(np.diff(roots[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    rows = positions[order]
    several = zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True)
    return tuple(sorted(tuple(rows[start : start + size].tolist()) for start, size in several))


def _candidates(
    signatures: Signatures, first: Positions, components: Components
) -> Iterator[tuple[Positions, Positions]]:
    """Return pairs of contents that share the key of a band, unless they are joined by then."""
    for keys in signatures.bands:
        keys = keys[first]
        shared = _shared(keys)
        order = shared[np.argsort(keys[shared], kind="stable")]
        buckets = np.cumsum(np.diff(keys[order], prepend=keys[order[:1]]) != 0)
        sizes = np.bincount(buckets)[buckets] if len(buckets) else buckets
        is_small = (sizes > 1) & (sizes <= _FULLY_COMPARED)
        members, bucket = order[is_small], buckets[is_small]
        for distance in range(1, _FULLY_COMPARED):
            is_pair = bucket[distance:] == bucket[:-distance]
            yield from components.apart(members[:-distance][is_pair], members[distance:][is_pair])
        is_large = sizes > _FULLY_COMPARED
        yield from _led(order[is_large], buckets[is_large], components)


def _shared(keys: Hashes) -> Positions:
    """Return where the keys are that occur twice or more, and few others. Sorting what is left takes less time."""
    ordered = np.sort(keys)
    last_bits = np.uint64((1 << max(len(keys).bit_length() + 1, 8)) - 1)
    table = np.zeros(int(last_bits) + 1, dtype=np.bool_)
    table[ordered[1:][ordered[1:] == ordered[:-1]] & last_bits] = True
    return np.flatnonzero(table[keys & last_bits])


def _led(members: Positions, bucket: Positions, components: Components) -> Iterator[tuple[Positions, Positions]]:
    """Compare each member of large buckets with one leader, then those that are left with the next, a few times."""
    for turn in range(_FULLY_COMPARED):
        starts = np.flatnonzero(np.diff(bucket, prepend=-1))
        sizes = np.diff(starts, append=len(members))
        if turn >= 2:  # one template's; what is near among them is in smaller buckets of other bands
            is_small = np.repeat(sizes <= _FEW_LEADERS_ABOVE, sizes)
            members, bucket = members[is_small], bucket[is_small]
            starts = np.flatnonzero(np.diff(bucket, prepend=-1))
            sizes = np.diff(starts, append=len(members))
        if not len(members):
            return
        leaders = np.repeat(members[starts], sizes)
        yield from components.apart(leaders, members)
        is_left = ~components.are_joined(leaders, members)
        members, bucket = members[is_left], bucket[is_left]
