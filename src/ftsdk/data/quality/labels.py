"""Labels: spellings of one class, and how the classes are balanced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ftsdk.data.labels import label_variants

__all__ = ["ClassBalance", "class_balance", "normal_labels"]

_FEW = 10
"""Examples below which a class is called rare."""


@dataclass(frozen=True, slots=True)
class ClassBalance:
    """How many examples each class has."""

    counts: dict[str, int]
    """By class, the most frequent first."""
    majority: float
    """Share of the most frequent class, from 0 to 1: what always answering it would score."""
    imbalance: float
    """Examples of the most frequent class per example of the rarest; 1 is balanced."""
    rare: tuple[str, ...]
    """Classes with fewer than ten examples."""


def normal_labels(labels: Sequence[str]) -> dict[int, str]:
    """Return by position the labels that differ by case or blanks alone from a more frequent one, and that one."""
    counts = Counter(labels)
    better = {text: group[0] for group in label_variants(counts) for text in group[1:]}
    return {position: better[label] for position, label in enumerate(labels) if label in better} if better else {}


def class_balance(labels: Sequence[str]) -> ClassBalance:
    """Return how many examples each class has.

    Raises:
        ValueError: There are no labels.
    """
    if not labels:
        raise ValueError("there are no labels to count; pass at least one")
    counts = dict(sorted(Counter(labels).items(), key=lambda item: (-item[1], item[0])))
    most, least = next(iter(counts.values())), min(counts.values())
    rare = tuple(label for label, count in counts.items() if count < _FEW)
    return ClassBalance(counts, most / len(labels), most / least, rare)
