"""A plain function judges without a decorator."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftsdk.errors import SpecError
from ftsdk.evals import Answer, Eval, Example, FunctionTarget, Score, evaluate
from ftsdk.evals.judgement import judge_answers

MakeRows = Callable[..., Any]


def is_short(example: Example, answer: str, *, most: int = 3) -> bool:
    return len(answer) <= most


@pytest.fixture
def rows(make_rows: MakeRows) -> Any:
    return make_rows(("1", "a"), ("2", "b"))


def test_a_function_judges_under_its_own_name(rows: Any, tmp_path: Path) -> None:
    item = Eval.of(rows, is_short, most=1)
    report = evaluate([item], [FunctionTarget(name="tuned", function=lambda messages: "a" * 2)], into=tmp_path)

    assert (item.name, item.to_dict()["most"]) == ("is_short", 1)
    assert report.score("is_short", "tuned").value == 0.0
    assert pickle.loads(pickle.dumps(item.scorer))(item.examples()[0], "a") == Score(1.0, "right")


@pytest.mark.parametrize(
    ("found", "value"), [(True, 1.0), (np.True_, 1.0), (0.25, 0.25), (np.float32(0.5), 0.5), (Score(0.1, "so"), 0.1)]
)
def test_a_verdict_is_a_truth_a_number_or_a_score(rows: Any, found: Any, value: float) -> None:
    item = Eval.of(rows, lambda example, answer: found, name="mine")
    assert item.score(item.examples()[0], "").value == value


@pytest.mark.parametrize(
    ("found", "message"), [("yes", "returned 'yes'"), (None, "returned None"), (7, "outside 0 to 1")]
)
def test_another_verdict_is_refused(rows: Any, found: Any, message: str) -> None:
    item = Eval.of(rows, lambda example, answer: found, name="mine")
    with pytest.raises(SpecError, match=message):
        item.score(item.examples()[0], "")


def test_what_cannot_be_called_so_is_refused(rows: Any) -> None:
    with pytest.raises(SpecError, match=r"must take \(example, answer\)"):
        Eval.of(rows, lambda answer: True)
    assert Eval.of(rows, functools.partial(is_short, most=9)).name == "partial"


def test_an_error_of_the_function_names_the_example(rows: Any) -> None:
    item = Eval.of(rows, lambda example, answer: int(answer), name="mine")
    with pytest.raises(ValueError, match="invalid literal") as caught:
        judge_answers(item, item.examples(), {0: Answer(text="1"), 1: Answer(text="x")}, target="tuned", folder=Path())
    assert caught.value.__notes__ == ["while judging example 2 of the eval 'mine', answered by tuned"]


def test_an_example_without_an_answer_keeps_its_class(make_rows: MakeRows, tmp_path: Path) -> None:
    item = Eval.of(make_rows(("1", "spam"), ("2", "ham")), "choice")
    answers = {0: Answer(text="spam"), 1: Answer(text="", error="HTTP 500")}
    right, missing = judge_answers(item, item.examples(), answers, target="tuned", folder=tmp_path)

    assert right.value == 1.0
    assert (missing.value, missing.label, missing.expected_label) == (0.0, None, "ham")
    assert missing.reason == "no answer: HTTP 500"
