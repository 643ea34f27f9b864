"""Completions that look like class labels, and labels that are probably meant to be one."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice

__all__ = ["MAX_CLASSES", "class_of", "label_counts", "label_variants"]

MAX_CLASSES = 50
"""Completions with at most this many distinct texts are taken for class labels."""
_MAX_SPELLINGS = 20 * MAX_CLASSES
_CHUNK = 1024


def label_variants(counts: Mapping[str, int], *, most_classes: int = MAX_CLASSES) -> tuple[tuple[str, ...], ...]:
    """Return the labels that differ by case, blanks or Unicode form alone, each group with the most frequent first.

    Args:
        counts: Every distinct completion, and in how many rows it occurs.
        most_classes: With more classes than this, the completions aren't taken for labels.
    """
    groups: dict[str, list[str]] = {}
    for text in counts:
        groups.setdefault(_folded(text), []).append(text)
    if len(groups) > most_classes or len(groups) == sum(counts.values()):
        return ()
    return tuple(
        tuple(sorted(group, key=lambda text: (-counts[text], text))) for group in groups.values() if len(group) > 1
    )


def label_counts(completions: Iterable[str]) -> Counter[str]:
    """Count completions; empty if there are so many different ones that they can't be labels."""
    counts: Counter[str] = Counter()
    remaining = iter(completions)
    while chunk := list(islice(remaining, _CHUNK)):
        counts.update(chunk)
        if len(counts) > _MAX_SPELLINGS:
            return Counter()
    return counts


def class_of(counts: Mapping[str, int]) -> dict[str, str]:
    """Return the class of each distinct completion: itself, or the label that it is a variant of."""
    return {**{text: text for text in counts}, **{text: group[0] for group in label_variants(counts) for text in group}}


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
