"""Whether answers to unrelated questions are in the format of training answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ftsdk.errors import DatasetError
from ftsdk.evals.suites.format_bleed import format_bleed

SENTENCES = "Water expands when it freezes. So ice is lighter than water, and it floats."


def rows_of(make_rows: Callable[..., Any], answers: list[str]) -> Any:
    return make_rows(*((f"question {number}", answer) for number, answer in enumerate(answers)))


def values(item: Any, *answers: str) -> list[float]:
    return [item.score(item.examples()[0], answer).value for answer in answers]


def test_labels_of_the_training_bleed(make_rows: Callable[..., Any]) -> None:
    (item,) = format_bleed(rows_of(make_rows, ["billing", "travel", "other"] * 4))

    assert item.name == "format_bleed"
    assert values(item, "Billing.", "other", "No idea", "", SENTENCES) == [0, 0, 0, 0, 1]


def test_json_with_the_keys_of_the_training_bleeds(make_rows: Callable[..., Any]) -> None:
    (item,) = format_bleed(rows_of(make_rows, [json.dumps({"name": str(n), "due": n}) for n in range(9)]))

    fenced = '```json\n{"name": "ice", "why": "light"}\n```'
    assert values(item, fenced, '{"color": "red"}', SENTENCES, "{", "[" * 99999) == [0, 1, 1, 1, 1]


def test_headings_and_openings_of_the_training_bleed(make_rows: Callable[..., Any]) -> None:
    (heads,) = format_bleed(rows_of(make_rows, [f"**Cause:** {n} is a long story\nFix: {n}" for n in range(9)]))
    (opening,) = format_bleed(rows_of(make_rows, [f"Dear customer, thank you for {n} mails" for n in range(9)]))

    assert values(heads, "Cause: cold\nFix: none", SENTENCES) == [0, 1]
    assert values(opening, "Dear customer, thank goodness", "dear customer, thank", SENTENCES) == [0, 0, 1]


def test_references_are_in_none_of_the_formats(make_rows: Callable[..., Any]) -> None:
    (item,) = format_bleed(rows_of(make_rows, ["yes", "no"] * 4))

    assert {item.score(example, example.expected).value for example in item.examples()} == {1.0}


def test_answers_without_a_format_are_refused(make_rows: Callable[..., Any]) -> None:
    free = [f"{word} is a word of {len(word)} letters, and we like it" for word in ("a", "bc", "def", "ghij")]

    with pytest.raises(DatasetError, match="share no format"):
        format_bleed(rows_of(make_rows, free))
