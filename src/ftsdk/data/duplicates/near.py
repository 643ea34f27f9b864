"""Texts that are almost the same: pairs found by MinHash and verified, and the clusters that they form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftsdk.data.duplicates.components import Components
from ftsdk.data.duplicates.hashed_words import HashedWords, JoinedWords, WordNgrams, Words
from ftsdk.data.duplicates.limits import MIN_WORDS
from ftsdk.data.duplicates.shingles import (
    CharacterShingles,
    CutTexts,
    Hashes,
    Positions,
    Shingled,
    SomeShingled,
    Texts,
    read_texts,
)
from ftsdk.data.duplicates.signatures import Signatures, sign
from ftsdk.data.duplicates.similarity import Similarity
from ftsdk.data.duplicates.template_wording import NOTHING_COMMON, common_shingles

__all__ = ["NearDuplicates", "SimilarPair", "near_clusters", "near_duplicates", "similar_short_texts", "split_clusters"]

_N = 3
"""Words of an n-gram."""

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
    clusters. Takes about 100 bytes a row beside the texts, and 8 bytes a word; more than 64 MiB of these are in a file
    that is mapped into memory.

    Args:
        texts: The texts of the rows: the columns that the data came with rather than a rendered prompt, whose template
            is the same in all rows. A sequence, or a pyarrow array.
        threshold: The least Jaccard similarity of a pair, above 0 and at most 1. Below 0.6, pairs are missed.
        min_words: Texts with fewer words are in no cluster; at least 3.
        ignore_templates: Leave out wording that more than half of the different texts share.

    Raises:
        ValueError: `threshold` or `min_words` is out of range.
        OSError: The disk is full.
    """
    if not 0 < threshold <= 1 or min_words < 3:
        raise ValueError(f"threshold={threshold!r} must be above 0 and at most 1, min_words={min_words!r} at least 3")
    shingled = WordNgrams(HashedWords(texts), _N)
    common = common_shingles(shingled, share=0.5, at_least=5) if ignore_templates else NOTHING_COMMON
    found = _Search(shingled, common, threshold, at_least=min_words - _N + 1)
    pairs = found.pairs()
    return NearDuplicates(found.clusters(), pairs)


def near_clusters(words: Words, *, threshold: float = 0.7) -> tuple[tuple[int, ...], ...]:
    """Return the clusters that `near_duplicates` finds with `ignore_templates`, of texts that are cut into words."""
    return _clusters_but_templates(WordNgrams(words, _N), threshold)


def similar_short_texts(
    texts: Texts, *, threshold: float = 0.6, max_words: int = MIN_WORDS - 1
) -> tuple[SimilarPair, ...]:
    """Return pairs of rows with short, similar texts, by the Jaccard similarity of their characters' 4-grams.

    For a report only: "transfer $5 from savings" and "transfer $9 from savings" are such a pair, and no duplicates.
    Finds 92% of the one-word edits of CLINC150's 8-word messages. Equal texts are in no pair.

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
    found = _Search(CutTexts(chosen, CharacterShingles()), NOTHING_COMMON, threshold, at_least=1)
    pairs = [SimilarPair(short[one], short[other], similarity) for one, other, similarity in found.pairs()]
    return tuple(pair for pair in pairs if pair.similarity < 1)


def split_clusters(texts: Texts | Words, *, threshold: float = 0.7) -> tuple[tuple[int, ...], ...]:
    """Return the clusters that a split keeps together.

    As `near_duplicates` with `ignore_templates`, but a cluster of more than 20 rows and more than 5% of all is taken
    for rows of one template: wording that more than half of its texts share is left out, and the rest is compared anew.
    """
    words = texts if isinstance(texts, (HashedWords, JoinedWords)) else HashedWords(texts)
    shingled = WordNgrams(words, _N)
    most = max(20, len(shingled.sizes) // 20)
    clusters: list[tuple[int, ...]] = []
    for cluster in _clusters_but_templates(shingled, threshold):
        if len(cluster) <= most:
            clusters.append(cluster)
            continue
        inside = SomeShingled(shingled, np.array(cluster, dtype=np.int64))
        again = _clusters_but_templates(inside, threshold)
        parts = [tuple(cluster[position] for position in part) for part in again]
        clusters += [part for part in parts if len(part) <= most]
    return tuple(sorted(clusters))


def _clusters_but_templates(texts: Shingled, threshold: float) -> tuple[tuple[int, ...], ...]:
    common = common_shingles(texts, share=0.5, at_least=5)
    return _Search(texts, common, threshold, at_least=MIN_WORDS - _N + 1).clusters()


class _Search:
    """What is near among texts."""

    def __init__(self, texts: Shingled, common: Hashes, threshold: float, *, at_least: int) -> None:
        signatures = sign(texts, common, at_least=at_least)
        similarity = Similarity(texts, common)
        # One row stands for all with the same content. In the order of contents, so that the order of rows doesn't
        # matter.
        _, self._first, self._content_of = np.unique(signatures.contents, return_index=True, return_inverse=True)
        self._positions = signatures.positions
        representatives = signatures.positions[self._first]
        self._components = Components(len(self._first))
        self._found: list[tuple[Positions, Positions, NDArray[np.float64]]] = []
        for left, right in _candidates(signatures, self._first, self._components):
            one, other = representatives[left], representatives[right]
            measured = similarity.jaccard(one, other)
            is_near = measured >= threshold
            self._components.join(left[is_near], right[is_near])
            self._found.append((one[is_near], other[is_near], measured[is_near]))

    def clusters(self) -> tuple[tuple[int, ...], ...]:
        """Return the rows that are linked."""
        return _clusters(self._components.roots()[self._content_of], self._positions)

    def pairs(self) -> tuple[SimilarPair, ...]:
        """Return the pairs that link them."""
        first = self._first[self._content_of]
        places = np.flatnonzero(first != np.arange(len(first)))
        same = zip(self._positions[first[places]].tolist(), self._positions[places].tolist(), strict=True)
        pairs = [SimilarPair(one, other, 1.0) for one, other in same]
        for left, right, measured in self._found:
            near = zip(left.tolist(), right.tolist(), measured.tolist(), strict=True)
            pairs += [SimilarPair(min(one, other), max(one, other), similarity) for one, other, similarity in near]
        return tuple(sorted(pairs))


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


def _shared(keys: NDArray[np.uint32]) -> Positions:
    """Return where the keys are that occur twice or more, and few others. Sorting what is left takes less time."""
    ordered = np.sort(keys)
    last_bits = np.uint32((1 << max(len(keys).bit_length() + 1, 8)) - 1)
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
