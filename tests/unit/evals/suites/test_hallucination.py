"""Answers from a context, and none where it has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.data.growing import context
from ftsdk.errors import SpecError
from ftsdk.evals import Example, FunctionTarget, evaluate
from ftsdk.evals.suites.hallucination import TEMPLATE, grounded, hallucination


def test_questions_are_asked_as_rows_with_context_are() -> None:
    assert TEMPLATE == context.TEMPLATE


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("The context doesn't say.", 1),
        ("The context does not provide this information.", 1),
        ("It isn't mentioned in the text.", 1),
        ("I don't know.", 1),
        ("Ask the desk!", 1),
        ("There is no information on that.", 1),
        ("It doesn't give any information about the price.", 1),
        ("That information is not available.", 1),
        ("The price isn't given.", 1),
        ("It is a luxury product that is not available in the market.", 0),
        ("For any information, call 555.", 0),
        ("It costs 40 euros.", 0),
        ("", 0),
    ],
)
def test_a_question_without_an_answer_wants_that_said(answer: str, value: float) -> None:
    example = Example([], "Ask the desk", {"accept": []})

    assert grounded(example, answer).value == value


def test_a_question_with_an_answer_wants_it() -> None:
    example = Example([], "two years", {"accept": ["two years", "2 years"]})

    assert grounded(example, "It lasts 2 years.").value == 1.0
    assert grounded(example, "The context doesn't say.").value == 0.0


def test_a_model_that_never_answers_scores_one_half(tmp_path: Path) -> None:
    timid = FunctionTarget(name="timid", function=lambda _: "The context doesn't say.", revision="1")

    assert evaluate(hallucination(), [timid], into=tmp_path).score("hallucination", "timid").value == 0.5


def test_every_accepted_answer_is_in_its_context_and_judged_right() -> None:
    (item,) = hallucination(unanswerable="Ask the desk.")
    for example in item.examples():
        assert item.score(example, example.expected).value == 1.0
        accepted = example.columns["accept"]
        assert not accepted or any(text.casefold() in example.prompt_text.casefold() for text in accepted)


def test_an_empty_sentence_is_refused() -> None:
    with pytest.raises(SpecError, match="is empty"):
        hallucination(unanswerable=" ")
