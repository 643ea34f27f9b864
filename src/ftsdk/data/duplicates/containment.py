"""Answers that another set holds, by n-grams of words: what remains of an answer inside a longer text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ftsdk.data.duplicates.exact import normalised, text_key
from ftsdk.data.duplicates.shingles import Texts, WordShingles, batches, read_texts, text_sizes

__all__ = ["ContainedAnswer", "contained_answers"]


class ContainedAnswer(NamedTuple):
    """An answer whose words occur in a row of another set."""

    position: int
    """The row of the answer."""
    other: int
    """The row of the other set that has most of it."""
    share: float
    """How much of the answer's different n-grams that row has, from 0 to 1."""


def contained_answers(
    answers: Sequence[str], others: Texts, *, n: int = 13, at_least: float = 0.7
) -> tuple[ContainedAnswer, ...]:
    """Return the answers that a text of another set contains, in the order of their rows.

    Answers of fewer than `n` words are never found, nor those that several rows give: class labels and standard
    replies are no evidence.

    Args:
        answers: The answers to look for.
        others: The texts to look in.
        n: Words of an n-gram: 13 as for GPT-3 (Brown et al. 2020, appendix C), 8 as for PaLM (Chowdhery et al. 2022,
            section 8, which counts a row from 70 % of its 8-grams on).
        at_least: The least share of an answer's different n-grams that one text must have.
    """
    shingler = WordShingles(n)
    keys = [text_key(normalised(text)) for text in answers]
    given = Counter(keys)
    single = np.array([row for row, key in enumerate(keys) if given[key] == 1], dtype=np.int64)
    sizes = text_sizes(answers)
    parts = [np.empty((2, 0), dtype=np.uint64)]
    for start, stop in batches(sizes[single]):
        shingles = shingler(read_texts(answers, single[start:stop]))
        rows = np.repeat(single[start:stop].astype(np.uint64), shingles.counts)
        parts.append(np.unique(np.stack((shingles.hashes, rows)), axis=1))
    # Ascending by n-gram, each with the answers that have it.
    hashes, owners = np.concatenate(parts, axis=1)
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order].astype(np.int64)
    if not len(hashes):
        return ()
    wanted = np.bincount(owners, minlength=len(answers))
    best_share = np.zeros(len(answers))
    best_other = np.zeros(len(answers), dtype=np.int64)
    for start, stop in batches(text_sizes(others)):
        shingles = shingler(read_texts(others, np.arange(start, stop)))
        first = np.searchsorted(hashes, shingles.hashes, side="left")
        found = np.flatnonzero(hashes[np.minimum(first, len(hashes) - 1)] == shingles.hashes)
        if not len(found):
            continue
        other = np.searchsorted(shingles.offsets, found, side="right") - 1
        last = np.searchsorted(hashes, shingles.hashes[found], side="right")
        counts = last - first[found]
        ends = np.cumsum(counts)
        places = np.repeat(first[found] - (ends - counts), counts) + np.arange(ends[-1])
        # An n-gram that a text has twice counts once.
        held = np.unique(np.stack((owners[places], np.repeat(other, counts), places)), axis=1)
        held_pairs, shared = np.unique(held[:2], axis=1, return_counts=True)
        share = shared / wanted[held_pairs[0]]
        for row, text, value in zip(*held_pairs.tolist(), share.tolist(), strict=True):
            if value > best_share[row]:
                best_share[row], best_other[row] = value, start + text
    enough = np.flatnonzero(best_share >= at_least).tolist()
    return tuple(ContainedAnswer(row, int(best_other[row]), float(best_share[row])) for row in enough)
