"""What near-duplicates must share beside similar texts to be repeats: a short answer, or a class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ftsdk.data.duplicates.exact import normalised
from ftsdk.data.duplicates.limits import MIN_WORDS
from ftsdk.data.labels import are_labels

__all__ = ["class_columns", "class_labels", "repeats_in", "short_answers"]


def short_answers(answers: Iterable[str]) -> list[object]:
    """Return each answer that is too short to be compared by its wording, case and blanks aside; else None."""
    folded = map(normalised, answers)
    return [answer if len(answer.split(maxsplit=MIN_WORDS)) < MIN_WORDS else None for answer in folded]


def class_columns(rows: Iterable[Mapping[str, object]], count: int) -> list[str]:
    """Return the columns of short texts of which few are different: those are classes, not wording.

    Args:
        rows: The rows of a table.
        count: How many there are.
    """
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str):
                values.setdefault(name, set()).add(value)
    return sorted(
        name
        for name, different in values.items()
        if are_labels(different, count) and all(len(value.split(maxsplit=MIN_WORDS)) < MIN_WORDS for value in different)
    )


def class_labels(row: Mapping[str, object], classes: Sequence[str]) -> object:
    """Return the classes of a row of a table, case and blanks aside."""
    return tuple(normalised(str(row.get(name))) for name in classes)


def repeats_in(clusters: Iterable[Sequence[int]], labels: Sequence[object] | Mapping[int, object]) -> dict[int, int]:
    """Return the rows that are almost the same as an earlier one with the same label, each with that one.

    Args:
        clusters: Rows that are almost the same, ascending.
        labels: The label of each row, or of those in clusters by position.
    """
    found: dict[int, int] = {}
    for cluster in clusters:
        first: dict[object, int] = {}
        for row in cluster:
            head = first.setdefault(labels[row], row)
            if head != row:
                found[row] = head
    return found
