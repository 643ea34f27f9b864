"""Near-duplicates between two sets of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ftsdk.data.duplicates.limits import MIN_WORDS
from ftsdk.data.duplicates.shingles import CutTexts, Positions, WordShingles, text_sizes
from ftsdk.data.duplicates.signatures import Signatures, sign
from ftsdk.data.duplicates.similarity import Similarity
from ftsdk.data.duplicates.template_wording import common_shingles
from ftsdk.data.text_column import TextColumn

__all__ = ["NearMatch", "near_matches"]

_MOST_PER_BAND = 8


class NearMatch(NamedTuple):
    """A text and its near-duplicates of one wording in another set."""

    position: int
    others: tuple[int, ...]
    """Rows of the other set with one and the same wording, ascending."""
    similarity: float
    """The Jaccard similarity of the words' 3-grams, from 0 to 1."""


def near_matches(
    texts: Sequence[str],
    others: Sequence[str],
    *,
    threshold: float = 0.7,
    signed: dict[bytes, Signatures] | None = None,
) -> list[NearMatch]:
    """Return the near-duplicates that `texts` have among `others`, in the order of the texts.

    Texts of fewer than 20 words have none. Wording that 1% of all different texts share, and at least 5 of them, is a
    template and doesn't count.

    Args:
        texts: The texts to look for.
        others: The texts to look in.
        threshold: The least Jaccard similarity.
        signed: The signatures of `others`, by the wording that doesn't count: those that an earlier call made for the
            same `others` are taken, and new ones replace them.
    """
    if not texts or not others:
        return []
    shingler = WordShingles()
    columns = [one if isinstance(one, TextColumn) else TextColumn(one) for one in (texts, others)]
    together = TextColumn.joined(*columns)
    sizes = text_sizes(together)
    both = CutTexts(together, shingler, sizes)
    common = common_shingles(both, share=0.01, at_least=5)
    at_least = MIN_WORDS - shingler.n + 1
    sought = sign(CutTexts(columns[0], shingler, sizes[: len(texts)]), common, at_least=at_least)
    if not len(sought.positions):
        return []
    known = None if signed is None else signed.get(common.tobytes())
    if known is None:
        known = sign(CutTexts(columns[1], shingler, sizes[len(texts) :]), common, at_least=at_least)
        if signed is not None:
            signed.clear()
            signed[common.tobytes()] = known
    if not len(known.positions):
        return []
    # The rows of each wording, in a run; the first row of a run stands for it.
    order = np.argsort(known.contents, kind="stable")
    starts = np.flatnonzero(np.diff(known.contents[order], prepend=~known.contents[order[:1]]))
    ends = np.append(starts[1:], len(order))
    pairs = np.unique(np.concatenate([[[], []], *_candidates(sought, known, order[starts])], axis=1), axis=1)
    one, wording = pairs.astype(np.int64)
    left = sought.positions[one]
    right = len(texts) + known.positions[order[starts[wording]]]
    measured = Similarity(both, common).jaccard(left, right)
    return [
        NearMatch(
            int(left[pair]), tuple(known.positions[order[starts[run] : ends[run]]].tolist()), float(measured[pair])
        )
        for pair, run in enumerate(wording.tolist())
        if measured[pair] >= threshold
    ]


def _candidates(sought: Signatures, known: Signatures, wordings: Positions) -> Iterator[Positions]:
    """Return pairs that share the key of a band: numbers of sought texts, and numbers of known wordings."""
    for wanted, keys in zip(sought.bands, known.bands, strict=True):
        keys = keys[wordings]
        order = np.argsort(keys, kind="stable")
        first = np.searchsorted(keys[order], wanted, side="left")
        last = np.searchsorted(keys[order], wanted, side="right")
        counts = np.minimum(last - first, _MOST_PER_BAND)
        ends = np.cumsum(counts)
        places = np.repeat(first - (ends - counts), counts) + np.arange(ends[-1])
        yield np.stack((np.repeat(np.arange(len(wanted)), counts), order[places]))
