"""The class that an answer names."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest

from ftsdk.errors import SpecError
from ftsdk.evals import Eval, Example
from ftsdk.evals.scorers.choice import choice

MakeRows = Callable[..., Any]
CLASSES = ("card", "card payment", "refund", "order", "C++", "账单")


def named(answer: str, **options: Any) -> str | None:
    return choice.with_options(choices=CLASSES, **options)(Example([], "refund"), answer).label


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("Refund", "refund"),
        ("The class is **refund**, because money goes back.", "refund"),
        ("card  payment", "card payment"),
        ("It is about C++.", "C++"),
        ("类别是账单。", "账单"),
        ("refund, yes, refund", "refund"),
        ("non-refund", None),
        ("refunded", None),
        ("order_status", None),
        ("party", None),
        ("refund or order", None),
        ("card payment, by card", None),
        ("", None),
    ],
)
def test_an_answer_names_a_class_as_a_whole_word(answer: str, label: str | None) -> None:
    assert named(answer) == label


@pytest.mark.parametrize(
    ("where", "answer", "label"),
    [
        ("start", "**Refund**: not an order", "refund"),
        ("start", "card payment", "card payment"),
        ("start", "It is a refund", None),
        ("whole", ' "refund". ', "refund"),
        ("whole", "refund it", None),
        ("whole", "C++", "C++"),
    ],
)
def test_the_place_of_the_name_can_be_narrowed(where: str, answer: str, label: str | None) -> None:
    assert named(answer, where=where) == label


def test_case_counts_on_request() -> None:
    assert named("Refund", ignore_case=False) is None


def test_accents_are_the_same_however_they_are_encoded() -> None:
    found = choice.with_options(choices=("café", "tea"))(Example([], "cafe\u0301"), "CAFE\u0301!")
    assert (found.value, found.label) == (1.0, "café")


def test_choices_are_the_references_of_the_eval_by_default(make_rows: MakeRows) -> None:
    item = Eval.of(make_rows(("1", "travel"), ("2", "billing")), "choice")
    first = item.examples()[0]

    assert item.score(first, "travel, not billing").reason == "names 2 classes: travel, billing"
    wrong = item.score(first, "billing")
    assert (wrong.value, wrong.label, wrong.expected_label) == (0.0, "billing", "travel")
    assert "choices" not in item.to_dict()
    assert pickle.loads(pickle.dumps(item)).score(first, "travel").value == 1.0


def test_references_that_are_no_choice_or_alike_are_refused(make_rows: MakeRows) -> None:
    rows = make_rows(("1", "travel"), ("2", "Travel"))
    with pytest.raises(SpecError, match=r"'Travel' and 'travel' can't be told apart; pass ignore_case=False"):
        Eval.of(rows, choice).score(Example([], "travel"), "travel")
    with pytest.raises(SpecError, match=r"the reference of example 1, 'travel', isn't one of the 2 choices"):
        Eval.of(rows, choice, choices=("a", "b")).score(Example([], "travel"), "travel")


@pytest.mark.parametrize("answer", ["\x00", "\ud800", "refund " * 200_000, "(" * 100_000])
def test_hostile_answers_are_judged_in_time(answer: str) -> None:
    started = time.monotonic()
    assert named(answer) in (None, "refund")
    assert time.monotonic() - started < 20
