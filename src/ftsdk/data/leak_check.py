"""What a model is trained on and judged by at once, and other things to know about a job's data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ftsdk._format import printable
from ftsdk.data.asked import answers_of, labels_of, prompts_of, wholes_of
from ftsdk.data.dataset import Dataset
from ftsdk.data.duplicates.leaks import Asked, Leak, LeakKind, Learned, find_leaks
from ftsdk.data.kept_leaks import keep_leaks, kept_leaks
from ftsdk.data.kept_results import KEPT_FROM
from ftsdk.data.labels import label_variants
from ftsdk.data.last_results import LastResults
from ftsdk.data.row_keys import answer_text, prompt_text
from ftsdk.data.rows import Rows
from ftsdk.errors import DatasetError

__all__ = ["JudgedBy", "data_notes", "leaks_of"]


class JudgedBy(NamedTuple):
    """Rows that a model is measured on."""

    field: str
    """Which part of a job they are: `"validation"`, or `"evals."` and the name of the eval."""
    rows: Rows | Iterable[Mapping[str, Any]]
    """A dataset, or chat rows."""

    @property
    def label(self) -> str:
        """What they are called in notes."""
        return f"the eval {self.field[6:]!r}" if self.field.startswith("evals.") else self.field


def data_notes(
    train: Rows, validation: Rows | None, evals: Sequence[JudgedBy], *, allow_leaks: Collection[str] = ()
) -> tuple[str, ...]:
    """Return what to know about a job's data: what its parts share, and labels that are probably one.

    Args:
        train: What is trained on.
        validation: What the loss is measured on meanwhile.
        evals: What the result is judged by.
        allow_leaks: The parts, named as `JudgedBy.field`, that may share rows with `train`.

    Raises:
        DatasetError: A part that isn't in `allow_leaks` has rows of `train`: the same answer to the same prompt or to a
            near-duplicate of it.
    """
    held_out = [] if validation is None else [JudgedBy("validation", validation)]
    read: _Read = {}
    notes: list[str] = []
    refused: dict[str, str] = {}
    for judge in [*held_out, *evals]:
        leaks = leaks_of(judge, train, read)
        certain = [leak for leak in leaks if leak.is_certain]
        if certain and judge.field not in allow_leaks:
            refused[judge.field] = _refusal(judge, certain)
        notes += _notes(judge, leaks, "train")
        if held_out and judge is not held_out[0]:
            notes += _notes(judge, leaks_of(judge, held_out[0].rows, read), "validation")
    if refused:
        raise DatasetError(
            f"{'; '.join(refused.values())}. The result would measure in part what was memorised.",
            source=train.name,
            hint="Remove these rows from one of the two (job.leaks() lists them all), or take both from one "
            f"Dataset.split(), which keeps duplicates together; allow_leaks={list(refused)} trains all the same.",
        )
    return (*notes, *_label_notes(train))


_found: LastResults[tuple[Leak, ...]] = LastResults(32)
"""By the fingerprints of both sets, since a job is planned several times."""


_Read = dict[int, Learned]
"""Rows that were read and hashed already, by the `id` of their dataset."""


def leaks_of(
    judge: JudgedBy, learned: Rows | Iterable[Mapping[str, Any]], read: _Read | None = None
) -> tuple[Leak, ...]:
    """Return what rows share with those that a model learned from; see `find_leaks`.

    A near-duplicate with the same answer is no certain leak between two parts of one split, which keeps
    near-duplicates together except for rows of one template.

    Args:
        judge: What a model is measured on.
        learned: What it learned from.
        read: One dict for several calls: rows that it learned from are read and hashed once for all of them.
    """
    leaks = _leaks_of(judge.rows, learned, {} if read is None else read)
    if _are_parts_of_one_split(judge.rows, learned):
        return tuple(leak._replace(kind="near prompt") if leak.kind == "near row" else leak for leak in leaks)
    return leaks


def _leaks_of(
    judged: Rows | Iterable[Mapping[str, Any]], learned: Rows | Iterable[Mapping[str, Any]], read: _Read
) -> tuple[Leak, ...]:
    if not (isinstance(judged, Rows) and isinstance(learned, Rows)):
        return find_leaks(_asked(judged), _asked(learned))
    key = judged.fingerprint, learned.fingerprint
    return _found.get(key, lambda: _kept_or_found(judged, learned, read))


def _kept_or_found(judged: Rows, learned: Rows, read: _Read) -> tuple[Leak, ...]:
    is_large = len(judged) + len(learned) >= KEPT_FROM
    key = judged.fingerprint, learned.fingerprint
    leaks = kept_leaks(*key, (len(judged), len(learned))) if is_large else None
    if leaks is None:
        if id(learned) not in read:
            wholes = wholes_of(learned.canonical, learned.format)
            read[id(learned)] = Learned(*_asked(learned), wholes)
        leaks = find_leaks(_asked(judged), read[id(learned)])
        if is_large:
            keep_leaks(*key, leaks)
    return leaks


def _asked(data: Rows | Iterable[Mapping[str, Any]]) -> Asked:
    if isinstance(data, Rows):
        return Asked(prompts_of(data.canonical, data.format), answers_of(data.canonical, data.format))
    prompts: list[str] = []
    answers: list[str] = []
    for row in data:
        prompts.append(prompt_text(row, "chat" if "messages" in row else "preference"))
        answers.append(answer_text(row))
    return Asked(prompts, answers)


def _are_parts_of_one_split(judged: object, learned: object) -> bool:
    if not (isinstance(judged, Dataset) and isinstance(learned, Dataset)) or judged.source != learned.source:
        return False
    steps = [
        next((n for n, step in reversed(list(enumerate(data.steps))) if step.split is not None), None)
        for data in (judged, learned)
    ]
    if steps[0] is None or steps[0] != steps[1]:
        return False
    before, one, other = judged.steps[: steps[0]], judged.steps[steps[0]], learned.steps[steps[0]]
    if learned.steps[: steps[0]] != before or one.split != other.split or one.split is None or one.part == other.part:
        return False
    # What makes other rows of them later may bring them nearer to each other.
    later = (*judged.steps[steps[0] + 1 :], *learned.steps[steps[0] + 1 :])
    return bool(one.split.group) and not any(step.shape or step.map for step in later)


def _refusal(judge: JudgedBy, certain: Sequence[Leak]) -> str:
    same = [leak for leak in certain if leak.kind == "row"]
    near = [leak for leak in certain if leak.kind == "near row"]
    counted = [
        *([f"{_counted(len(same), 'row')} that train also has"] if same else []),
        *([f"{_counted(len(near), 'near-duplicate')} of rows in train with the same answer"] if near else []),
    ]
    return f"{judge.label} has {' and '.join(counted)} ({_pairs(certain)})"


def _notes(judge: JudgedBy, leaks: Sequence[Leak], name: str) -> list[str]:
    what = (
        "it measures in part what was memorised"
        if name == "train"
        else "a choice made by the validation loss, such as early stopping, favours them"
    )
    count = len(judge.rows.rows) if isinstance(judge.rows, Rows) else len(list(judge.rows))
    notes: list[str] = []
    if same := _of(leaks, "row", "prompt"):
        with_answer = len(_of(same, "row"))
        verb = "is" if len(same) == 1 else "are"
        notes.append(
            f"{len(same):,} of the {count:,} prompts of {judge.label} {verb} also in {name}, {with_answer:,} with the "
            f"same answer: {what} ({_pairs(same)}); Dataset.split() keeps equal prompts in one part"
        )
    if near := _of(leaks, "near row", "near prompt"):
        verb = "is a near-duplicate" if len(near) == 1 else "are near-duplicates"
        notes.append(
            f"{len(near):,} of the {count:,} prompts of {judge.label} {verb} of one in {name} ({_pairs(near)})"
        )
    if answers := _of(leaks, "13-gram answer", "8-gram answer"):
        verb = "is" if len(answers) == 1 else "are"
        notes.append(
            f"{len(answers):,} of the {count:,} answers of {judge.label} {verb} for the most part also in a row of "
            f"{name}, by n-grams of 8 or 13 words ({_pairs(answers)})"
        )
    return notes


def _of(leaks: Iterable[Leak], *kinds: LeakKind) -> list[Leak]:
    return [leak for leak in leaks if leak.kind in kinds]


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _pairs(leaks: Sequence[Leak]) -> str:
    shown = [
        f"its row {leak.position + 1} and row {leak.other + 1}"
        + (f", similarity {leak.similarity:.2f}" if leak.similarity < 1 else "")
        for leak in leaks[:3]
    ]
    return "; ".join(shown) + ("; ..." if len(leaks) > 3 else "")


_labels: LastResults[tuple[str, ...]] = LastResults(32)


def _label_notes(train: Rows) -> tuple[str, ...]:
    return () if train.format != "chat" else _labels.get(train.fingerprint, lambda: _notes_about_labels(train))


def _notes_about_labels(train: Rows) -> tuple[str, ...]:
    counts = labels_of(train.canonical)
    notes: list[str] = []
    for group in label_variants(counts):
        shown = ", ".join(f"{printable(text, 40)!r} ({counts[text]:,})" for text in group)
        notes.append(
            f"train has labels that differ by case or blanks alone, and are learned as different answers: {shown}; "
            "make them one with Dataset.map() if they are"
        )
    return tuple(notes)
