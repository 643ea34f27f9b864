"""Completions that look like class labels, and labels that are probably meant to be one."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping

__all__ = ["MOST_SPELLINGS", "are_labels", "class_of", "label_variants", "spellings"]

_FEW_CLASSES, _ROWS_OF_FEW = 50, 2
_MOST_CLASSES, _ROWS_OF_MANY = 1_000, 3
"""Up to so many classes, each has at least so many rows on average."""
_LONGEST = 200
"""Characters of a label."""
MOST_SPELLINGS = 4 * _MOST_CLASSES
"""With more different completions than this, they can't be labels."""


def are_labels(different: Collection[str], rows: int) -> bool:
    """Return whether completions look like class labels: short, and each of them many times.

    The one rule of summaries, splits, reports and cleaning. Labels have at most 200 characters, and there are up to 50
    classes with two rows each on average, or up to 1,000 with three. Spellings that differ by case, blanks or Unicode
    form alone are one class.

    Args:
        different: The different completions.
        rows: How many rows have one.
    """
    if not 0 < len(different) <= MOST_SPELLINGS or max(map(len, different)) > _LONGEST:
        return False
    classes = len({_folded(text) for text in different})
    if classes <= _FEW_CLASSES:
        return classes * _ROWS_OF_FEW <= rows
    return classes <= _MOST_CLASSES and classes * _ROWS_OF_MANY <= rows


def label_variants(counts: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """Return the labels that differ by case, blanks or Unicode form alone, each group with the most frequent first.

    Empty if the completions aren't labels.

    Args:
        counts: Every distinct completion, and in how many rows it occurs.
    """
    return spellings(counts) if are_labels(counts, sum(counts.values())) else ()


def spellings(counts: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of texts as `label_variants` does, whether they are labels or not."""
    groups: dict[str, list[str]] = {}
    for text in counts:
        groups.setdefault(_folded(text), []).append(text)
    return tuple(
        tuple(sorted(group, key=lambda text: (-counts[text], text))) for group in groups.values() if len(group) > 1
    )


def class_of(counts: Mapping[str, int]) -> dict[str, str]:
    """Return the class of each distinct completion: itself, or the label that it is a variant of."""
    return {**{text: text for text in counts}, **{text: group[0] for group in label_variants(counts) for text in group}}


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
