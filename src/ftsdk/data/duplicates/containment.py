"""Answers that another set holds, by n-grams of words: what remains of an answer inside a longer text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ftsdk.data.duplicates.exact import normalised, text_key
from ftsdk.data.duplicates.shingles import (
    Texts,
    WordShingles,
    batches,
    distinct_owners,
    read_texts,
    text_sizes,
)
from ftsdk.data.duplicates.template_wording import NOTHING_COMMON

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
            section 8, which counts a row from 70% of its 8-grams on).
        at_least: The least share of an answer's different n-grams that one text must have.
    """
    shingler = WordShingles(n)
    keys = [text_key(normalised(text)) for text in answers]
    given = Counter(keys)
    single = np.array([row for row, key in enumerate(keys) if given[key] == 1], dtype=np.int64)
    sizes = text_sizes(answers)
    parts = [(NOTHING_COMMON, np.empty(0, dtype=np.int64))]
    for start, stop in batches(sizes[single]):
        shingles = shingler(read_texts(answers, single[start:stop]))
        parts.append((shingles.hashes, np.repeat(single[start:stop], shingles.counts)))
    # Ascending by n-gram, each with the answers that have it.
    hashes, owners = distinct_owners(
        np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    )
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
        text = np.searchsorted(shingles.offsets, found, side="right") - 1
        counts = np.searchsorted(hashes, shingles.hashes[found], side="right") - first[found]
        ends = np.cumsum(counts)
        places = np.repeat(first[found] - (ends - counts), counts) + np.arange(ends[-1])
        # An n-gram that a text has twice counts once. A place in `hashes` belongs to one answer.
        held = np.unique(np.repeat(text, counts) * len(hashes) + places)
        pairs, shared = np.unique(held // len(hashes) * len(answers) + owners[held % len(hashes)], return_counts=True)
        rows = pairs % len(answers)
        for pair, row, share in zip(pairs.tolist(), rows.tolist(), (shared / wanted[rows]).tolist(), strict=True):
            if share > best_share[row]:
                best_share[row], best_other[row] = share, start + pair // len(answers)
    enough = np.flatnonzero(best_share >= at_least).tolist()
    return tuple(ContainedAnswer(row, int(best_other[row]), float(best_share[row])) for row in enough)
