"""Steps by the rules of `ftsdk.data.quality`: rows that break one are removed, labels are changed to one spelling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import Field

from ftsdk.data.cleaning.cleaner import Changed, Removed, Verdicts, cleaner
from ftsdk.data.cleaning.row_texts import CleanRows, with_answer
from ftsdk.data.labels import are_labels, spellings
from ftsdk.data.quality import broken_json, check_texts, label_issues, wrong_roles
from ftsdk.data.quality import cut_off as find_cut_off
from ftsdk.errors import DatasetError

__all__ = [
    "cut_off",
    "invalid_json",
    "label_errors",
    "labels",
    "lost_characters",
    "repetition",
    "role_order",
    "template_leftover",
    "unclosed_fence",
]


@cleaner(version=1)
def cut_off(rows: CleanRows) -> Verdicts:
    """Remove rows whose answer stops in mid-sentence where most others don't."""
    return _by_answer(rows, find_cut_off, "the answer is cut off")


@cleaner(version=1)
def template_leftover(rows: CleanRows) -> Verdicts:
    """Remove rows with an unfilled field, a chat marker or a stock phrase of another model."""
    return _by_rule(rows, "template_leftover", "a leftover of a template")


@cleaner(version=1)
def unclosed_fence(rows: CleanRows) -> Verdicts:
    """Remove rows with a code fence that is opened and not closed."""
    return _by_rule(rows, "unclosed_fence", "an unclosed code fence")


@cleaner(version=1)
def invalid_json(rows: CleanRows) -> Verdicts:
    """Remove rows whose answer isn't JSON where most answers are."""
    return _by_answer(rows, broken_json, "the answer isn't JSON")


@cleaner(version=1)
def lost_characters(rows: CleanRows) -> Verdicts:
    """Remove rows with characters that were lost in decoding (U+FFFD)."""
    return _by_rule(rows, "lost_characters", "characters were lost in decoding")


@cleaner(version=1)
def repetition(rows: CleanRows) -> Verdicts:
    """Remove rows that repeat lines or phrases over and over."""
    return _by_rule(rows, "repetition", "repeated lines or phrases")


@cleaner(version=1)
def role_order(rows: CleanRows) -> Verdicts:
    """Remove conversations whose roles are in the wrong order."""
    if rows.format == "table":
        raise _needs_answers()
    if rows.format == "preference":  # they can't be read in any other order
        return
    for first, batch in rows.batches():
        faults = wrong_roles([message["role"] for message in row["messages"]] for row in batch)
        yield from (Removed(first + number, fault) for number, fault in sorted(faults.items()))


@cleaner(version=1)
def labels(rows: CleanRows, *, column: str | None = None) -> Verdicts:
    """Change labels that differ by case or blanks alone to the most frequent one; of a table, those of `column`."""
    found = _labels(rows, column, needed="labels")
    if found is None:
        return
    counts = Counter(found)
    groups = spellings(counts)
    spelling = {text: group[0] for group in groups for text in group[1:]}
    for first, batch in rows.batches():
        for number, row in enumerate(batch, start=first):
            better = spelling.get(found[number])
            if better is not None:
                reason = f"label {found[number]!r} becomes {better!r}"
                changed = {**row, column: better} if column else with_answer(row, better)
                yield Changed(number, reason, changed)


@cleaner(version=1)
def label_errors(
    rows: CleanRows,
    *,
    column: str | None = None,
    min_probability: Annotated[float, Field(ge=0.6, le=1)] = 0.6,
    seed: int = 0,
) -> Verdicts:
    """Remove rows whose label is probably wrong, by a classifier that hasn't seen them (needs the extra 'data')."""
    found = _labels(rows, column, needed="label_errors")
    if found is None:
        return
    texts = rows.prompts() if column is None else _other_texts(rows, column)
    class_of = {text: group[0] for group in spellings(Counter(found)) for text in group}
    classes = [class_of.get(label, label) for label in found]
    issues = {
        issue.position: issue for issue in label_issues(texts, classes, seed) if issue.probability >= min_probability
    }
    for number, issue in sorted(issues.items()):
        sure = f"{min(issue.probability, 0.99):.0%}"
        yield Removed(number, f"label {issue.label!r} is probably wrong ({sure}); {issue.suggested!r} fits better")


def _by_rule(rows: CleanRows, rule: str, reason: str) -> Verdicts:
    for batch in rows.text_batches():
        broken = {batch.row_of[position] for position in check_texts(batch.texts, [rule])[rule]}
        yield from (Removed(batch.first + number, reason) for number in sorted(broken))


def _by_answer(rows: CleanRows, find: Callable[[Sequence[str]], Sequence[int]], reason: str) -> Verdicts:
    if rows.format == "table":
        raise _needs_answers()
    yield from (Removed(number, reason) for number in sorted(find(rows.answers())))


def _needs_answers() -> DatasetError:
    return DatasetError(
        "the step looks at prompts and answers, and the rows are a table.",
        hint="Shape them first, with as_chat(...) or as_preference(...).",
    )


def _labels(rows: CleanRows, column: str | None, *, needed: str) -> list[str] | None:
    """Return the label of each row; None if the answers aren't labels."""
    if rows.format == "table":
        if column is None:
            raise DatasetError(
                f"the rows are a table, and {needed} needs the column with the labels.",
                hint=f'Pass clean("{needed}", column="..."), or shape the rows first.',
            )
        values = [row.get(column) for _, batch in rows.batches() for row in batch]
        if not any(isinstance(value, str) for value in values):
            raise DatasetError(f"column={column!r} has no labels that are text.")
        return [value if isinstance(value, str) else "" for value in values]
    if column is not None:
        raise DatasetError(f"column= is for tables; of {rows.format} rows the answers are the labels.")
    if rows.format != "chat":
        return None
    answers = rows.answers()
    return answers if are_labels(set(answers), len(answers)) else None


def _other_texts(rows: CleanRows, column: str) -> list[str]:
    return [
        "\n".join(value for name, value in sorted(row.items()) if name != column and isinstance(value, str))
        for _, batch in rows.batches()
        for row in batch
    ]
