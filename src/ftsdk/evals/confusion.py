"""Which classes were taken for which, and precision, recall and F1 of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk._format import printable, text_table
from ftsdk._rich_text import rich_text
from ftsdk.errors import SpecError
from ftsdk.evals.scorers.scorer import Score

__all__ = ["ClassScore", "ConfusionMatrix", "confusion_matrix"]

_NONE = "(no class)"
_WIDEST_NAME = 20


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """How well one class is told from the others."""

    label: str
    precision: float
    """Of the answers that name it, the share that is right; 0 if none names it."""
    recall: float
    """Of the examples of it, the share whose answer names it; 0 if there are none."""
    f1: float
    """The harmonic mean of both."""
    support: int
    """Examples of it."""


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """How often the answers to examples of each class name each class."""

    labels: tuple[str, ...]
    """All classes of references and answers, sorted."""
    counts: tuple[tuple[int, ...], ...]
    """`counts[i][j]`: examples of the class `labels[i]` whose answer names `labels[j]`."""
    unnamed: tuple[int, ...]
    """Examples of each class whose answer names none, or never came."""

    @property
    def n(self) -> int:
        """Examples."""
        return sum(map(sum, self.counts)) + sum(self.unnamed)

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return sum(row[position] for position, row in enumerate(self.counts)) / self.n

    @property
    def classes(self) -> tuple[ClassScore, ...]:
        """The scores of each class, in the order of `labels`."""
        found: list[ClassScore] = []
        for position, label in enumerate(self.labels):
            right = self.counts[position][position]
            support = sum(self.counts[position]) + self.unnamed[position]
            named = sum(row[position] for row in self.counts)
            found.append(
                ClassScore(
                    label=label,
                    precision=right / named if named else 0.0,
                    recall=right / support if support else 0.0,
                    f1=2 * right / (named + support) if named + support else 0.0,
                    support=support,
                )
            )
        return tuple(found)

    def confusions(self, most: int = 5) -> list[tuple[str, str, int]]:
        """Return the most frequent mistakes: the class of the reference, that of the answer, and how often."""
        pairs = [
            (label, other, self.counts[row][column])
            for row, label in enumerate(self.labels)
            for column, other in enumerate(self.labels)
            if row != column and self.counts[row][column]
        ]
        return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:most]

    def to_dict(self) -> dict[str, Any]:
        """Return the matrix as plain data."""
        return {
            "labels": list(self.labels),
            "counts": [list(row) for row in self.counts],
            "unnamed": list(self.unnamed),
            "classes": [
                {
                    "label": one.label,
                    "precision": one.precision,
                    "recall": one.recall,
                    "f1": one.f1,
                    "support": one.support,
                }
                for one in self.classes
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ConfusionMatrix:
        """Read what `to_dict` wrote."""
        return cls(
            labels=tuple(data["labels"]),
            counts=tuple(tuple(row) for row in data["counts"]),
            unnamed=tuple(data["unnamed"]),
        )

    def __str__(self) -> str:
        names = [printable(label, _WIDEST_NAME) for label in self.labels]
        head = ["reference \\ answer", *names, _NONE]
        rows = [
            [name, *map(str, row), str(none)] for name, row, none in zip(names, self.counts, self.unnamed, strict=True)
        ]
        scores = [
            [name, f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}", str(one.support)]
            for name, one in zip(names, self.classes, strict=True)
        ]
        return "\n\n".join(
            (
                text_table([head, *rows], right=range(1, len(head))),
                text_table([["class", "precision", "recall", "F1", "examples"], *scores], right=range(1, 5)),
            )
        )

    __rich__ = rich_text


def confusion_matrix(scores: Sequence[Score]) -> ConfusionMatrix:
    """Count which classes were taken for which.

    Args:
        scores: Of a scorer that names classes, such as `choice`; at least one.

    Raises:
        SpecError: A score has no class of its reference.
    """
    if not scores or any(score.expected_label is None for score in scores):
        raise SpecError("a confusion matrix needs scores of a scorer that names classes, such as 'choice'")
    pairs = Counter((score.expected_label, score.label) for score in scores)
    labels = sorted({label for pair in pairs for label in pair if label is not None})
    return ConfusionMatrix(
        labels=tuple(labels),
        counts=tuple(tuple(pairs[label, other] for other in labels) for label in labels),
        unnamed=tuple(pairs[label, None] for label in labels),
    )
