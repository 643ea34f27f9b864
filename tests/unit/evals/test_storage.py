"""Answers are appended as they come, so that no failure costs those before it; results of earlier versions are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import DatasetError, SpecError
from ftsdk.evals import Eval, EvalReport, Example, FunctionTarget, Score, evaluate, read_results, scorer

MakeRows = Callable[..., Any]
OLD_REPORT: dict[str, Any] = {
    "title": "run local:1",
    "scores": [
        {"name": "accuracy", "subject": "base", "n": 2, "correct": 1, "value": 0.5, "low": 0.1, "high": 0.9},
        {"name": "accuracy", "subject": "tuned", "n": 2, "correct": 2, "value": 1.0, "low": 0.3, "high": 1.0},
    ],
    "pairs": [
        {
            "name": "accuracy",
            "both": 1,
            "only_base": 0,
            "only_tuned": 1,
            "neither": 0,
            "difference": 0.5,
            "low": -0.3,
            "high": 0.9,
        },
    ],
    "notes": [],
}


class Answers:
    """Echoes, counts, and may fail once at one question."""

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at = fails_at
        self.asked: list[str] = []

    def __call__(self, conversation: Any) -> str:
        question = conversation[-1]["content"]
        self.asked.append(question)
        if question == self.fails_at:
            self.fails_at = ""
            raise OSError("out of memory")
        return question

    def target(self, revision: str = "1") -> FunctionTarget:
        return FunctionTarget(name="tuned", function=self, revision=revision)


@pytest.fixture
def item(make_rows: MakeRows) -> Eval:
    return Eval.exact_match(make_rows(*((str(n), str(n)) for n in range(6))))


def fail(item: Eval, answers: Answers, into: Path) -> None:
    with pytest.raises(OSError, match="out of memory") as caught:
        evaluate([item], [answers.target()], into=into)
    assert caught.value.__notes__ == ["while answering example 5"]


def test_a_failure_keeps_the_answers_before_it(item: Eval, tmp_path: Path) -> None:
    answers = Answers(fails_at="4")
    fail(item, answers, tmp_path)
    report = evaluate([item], [answers.target()], into=tmp_path)

    assert answers.asked == ["0", "1", "2", "3", "4", "4", "5"]
    assert report.scores[0].correct == 6
    names = sorted(path.name for path in (tmp_path / "exact_match").iterdir())
    assert names == ["tuned.answers.jsonl", "tuned.jsonl"]


def test_kept_answers_of_another_model_are_not_used(item: Eval, tmp_path: Path) -> None:
    answers = Answers(fails_at="4")
    fail(item, answers, tmp_path)
    evaluate([item], [answers.target(revision="2")], into=tmp_path)

    assert len(answers.asked) == 5 + 6


@pytest.mark.parametrize("tail", ['{"key": "', "\n[1]\n7\n", "\x00", '{"key": "0", "text": "wrong"}\n'])
def test_a_torn_or_foreign_line_costs_only_itself(item: Eval, tmp_path: Path, tail: str) -> None:
    answers = Answers(fails_at="4")
    fail(item, answers, tmp_path)
    with (tmp_path / "exact_match" / "tuned.answers.jsonl").open("a") as file:
        file.write(tail)
    answers.fails_at = "5"
    with pytest.raises(OSError, match="out of memory"):
        evaluate([item], [answers.target()], into=tmp_path)

    assert evaluate([item], [answers.target()], into=tmp_path).scores[0].correct == 6
    assert answers.asked[5:] == ["4", "5", "5"]


def test_a_scorer_that_fails_costs_no_answer(item: Eval, tmp_path: Path) -> None:
    @scorer
    def fails_once(example: Example, answer: str) -> Score:
        if not answers.fails_at:
            raise ZeroDivisionError
        return Score(1.0, "")

    answers = Answers()
    judged = Eval.of(item.data, fails_once)
    with pytest.raises(ZeroDivisionError):
        evaluate([judged], [answers.target()], into=tmp_path)
    answers.fails_at = "never"
    evaluate([judged], [answers.target()], into=tmp_path)

    assert len(answers.asked) == 6


def test_a_report_of_an_earlier_version_is_read() -> None:
    report = EvalReport.from_dict(json.loads(json.dumps(OLD_REPORT)))

    assert report.score("accuracy", "base").correct == 1
    assert (report.pairs[0].lower, report.pairs[0].equal, report.pairs[0].higher) == (0, 1, 1)
    assert "accuracy  base   2      1   50.0%  10.0% to 90.0%" in str(report)
    assert EvalReport.from_dict(report.to_dict()) == report


def test_answers_of_an_earlier_version_are_used_again(item: Eval, tmp_path: Path) -> None:
    answers = Answers()
    target = answers.target()
    old = [
        {"index": n, "prompt": f"user: {n}", "expected": str(n), "output": "0", "is_correct": n == 0} for n in range(6)
    ]
    text = "".join(json.dumps(line) + "\n" for line in old)
    settings = {"kind": "exact_match", "max_new_tokens": None, "ignore_case": False, "strip": True}
    meta = {"version": 1, "model": target.identity, "data": item.data.fingerprint, **settings}
    folder = tmp_path / "exact_match"
    folder.mkdir()
    (folder / "tuned.jsonl").write_text(text)
    (folder / "tuned.meta.json").write_text(json.dumps({**meta, "sha256": hashlib.sha256(text.encode()).hexdigest()}))

    assert evaluate([item], [target], into=tmp_path).scores[0].correct == 1
    assert answers.asked == []


@pytest.mark.parametrize(
    "data", [{}, {"title": "", "scores": [{"nmae": 1}], "pairs": []}, {"title": "", "scores": [], "pairs": [{}]}]
)
def test_something_else_than_a_report_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="not the data of an eval report"):
        EvalReport.from_dict(data)


def test_results_that_cannot_be_written_are_an_error_of_ours(make_rows: MakeRows, tmp_path: Path) -> None:
    (tmp_path / "exact_match" / "a.jsonl").mkdir(parents=True)
    asked: list[object] = []

    def answer(messages: object) -> str:
        asked.append(messages)
        return "a"

    target = FunctionTarget(name="a", function=answer)
    with pytest.raises(DatasetError, match="can't be written"):
        evaluate([Eval.exact_match(make_rows(("q", "a")))], [target], into=tmp_path)
    (tmp_path / "exact_match" / "a.jsonl").rmdir()
    assert evaluate([Eval.exact_match(make_rows(("q", "a")))], [target], into=tmp_path).scores[0].correct == 1
    assert len(asked) == 1


@pytest.mark.parametrize(
    "line",
    ['{"index": 0}', "[1]", '{"index": 0, "prompt": 5, "expected": "", "output": "", "value": 1, "reason": ""}', "{"],
)
def test_results_of_another_kind_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(SpecError, match="evaluate again"):
        read_results(tmp_path / "a.jsonl")


def test_results_of_a_later_version_are_read(tmp_path: Path) -> None:
    line = {"index": 0, "prompt": "\ud800", "expected": "", "output": "", "value": 1, "reason": "", "later": [1]}
    (tmp_path / "a.jsonl").write_text(json.dumps(line))
    assert read_results(tmp_path / "a.jsonl")[0].prompt == "\ud800"
