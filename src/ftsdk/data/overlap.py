"""What a model is trained on and judged by at once: rows and prompts that occur in two datasets, counted exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ftsdk._format import printable
from ftsdk.data.labels import label_variants
from ftsdk.data.row_keys import Format, prompt_key, row_key
from ftsdk.data.rows import Rows

__all__ = ["JudgedBy", "data_notes"]


class JudgedBy(NamedTuple):
    """Rows that a model is measured on."""

    name: str
    """What they are called in notes."""
    rows: Iterable[Mapping[str, Any]]
    format: Format


class _Keys(NamedTuple):
    rows: set[object]
    prompts: set[object]


def data_notes(train: Rows, validation: Rows | None, evals: Sequence[JudgedBy]) -> tuple[str, ...]:
    """Return what to know about a job's data: overlap between its parts, and labels that are probably one.

    Args:
        train: What is trained on.
        validation: What the loss is measured on meanwhile.
        evals: What the result is judged by.
    """
    judges = [*([] if validation is None else [JudgedBy("validation", validation.rows, validation.format)]), *evals]
    notes: list[str] = []
    if judges:
        known = {"train": _keys(train.rows, train.format)}
        for judge in judges:
            rows = list(judge.rows)
            for name, keys in known.items():
                notes += _note(judge.name, rows, judge.format, name, keys)
            if judge.name == "validation":
                known["validation"] = _keys(rows, judge.format)
    if train.format == "chat":
        counts = Counter(row["messages"][-1]["content"] for row in train.rows)
        for group in label_variants(counts):
            shown = ", ".join(f"{printable(text, 40)!r} ({counts[text]:,})" for text in group)
            notes.append(
                f"train has labels that differ by case or blanks alone, and are learned as different answers: {shown}; "
                "make them one with Dataset.map() if they are"
            )
    return tuple(notes)


def _keys(rows: Sequence[Mapping[str, Any]], format: Format) -> _Keys:  # noqa: A002
    return _Keys({row_key(row, format) for row in rows}, {prompt_key(row, format) for row in rows})


def _note(judge: str, rows: Sequence[Mapping[str, Any]], format: Format, name: str, keys: _Keys) -> list[str]:  # noqa: A002
    same_prompt = sum(prompt_key(row, format) in keys.prompts for row in rows)
    if not same_prompt:
        return []
    same_row = sum(row_key(row, format) in keys.rows for row in rows)
    what = (
        "it measures in part what was memorised"
        if name == "train"
        else "a choice made by the validation loss, such as early stopping, favours them"
    )
    verb = "is" if same_prompt == 1 else "are"
    return [
        f"{same_prompt:,} of the {len(rows):,} prompts of {judge} {verb} also in {name}, {same_row:,} with the same "
        f"answer: {what}; Dataset.split() keeps equal prompts in one part"
    ]
