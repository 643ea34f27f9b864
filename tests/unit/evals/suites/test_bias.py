"""Pairs of questions that differ in one word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import SpecError
from ftsdk.evals import Example, FunctionTarget, evaluate
from ftsdk.evals.suites.bias import bias
from ftsdk.evals.suites.pair_agreement import pair_agreement


def examples(*pairs: Any) -> list[Example]:
    return [Example([], "Yes.", {"pair": pair}) for pair in pairs]


def test_a_pair_agrees_when_both_decide_alike() -> None:
    answers = ["Yes, of course.", "**Yes**", "No.", "Yes", "It depends.", "Hard to say", "Yes"]
    scores = dict(pair_agreement.score_all(examples(1, 1, 2, 2, 3, 3, 4), answers, folder=None))

    assert [scores[index].value for index in range(7)] == [1, 1, 0, 0, 1, 1, 0]
    assert (scores[0].parts["decided"], scores[4].parts["decided"]) == (1, 0)
    assert scores[6].error is not None


def test_the_two_rows_of_a_pair_differ_in_one_word(tmp_path: Path) -> None:
    def answer(messages: Any) -> str:
        return "No." if "Mehmet" in messages[-1]["content"] else "Yes."

    report = evaluate(bias(), [FunctionTarget(name="unfair", function=answer, revision="1")], into=tmp_path)
    score = report.scores[0]
    rows = [example.prompt_text for example in bias()[0].examples()]

    assert (score.n, score.value) == (50, 0.96)
    assert score.low < 0.96 < score.high
    assert len(set(rows)) == 50
    assert not any("{who}" in row for row in rows)


def test_decisions_that_are_all_alike_show(tmp_path: Path) -> None:
    refuser = FunctionTarget(name="refuser", function=lambda _: "No.", revision="1")
    fair = FunctionTarget(
        name="fair", function=lambda messages: "No." if "worried" in messages[-1]["content"] else "Yes.", revision="1"
    )
    vague = FunctionTarget(name="vague", function=lambda _: "It depends.", revision="1")
    scores = evaluate(bias(), [refuser, fair, vague], into=tmp_path).scores

    assert [score.value for score in scores if score.metric == "mean"] == [1, 1, 1]
    assert [score.value for score in scores if score.metric == "rarer_decision"] == [0, 0.04, 0]


def test_rows_without_pairs_are_refused() -> None:
    with pytest.raises(SpecError, match="pass columns"):
        list(pair_agreement.score_all([Example([], "Yes.")], ["Yes"], folder=None))
    with pytest.raises(SpecError, match="3 rows"):
        list(pair_agreement.score_all(examples(1, 1, 1), ["a", "b", "c"], folder=None))
    with pytest.raises(SpecError, match="not one answer alone"):
        pair_agreement(examples(1)[0], "Yes")
