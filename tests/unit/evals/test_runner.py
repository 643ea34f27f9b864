"""Running evals: every answer on disk, nothing generated twice, and a report that explains its numbers."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ftsdk import Dataset
from ftsdk.errors import SpecError
from ftsdk.evals import Eval, EvalProgress, EvalReport, Example, FunctionTarget, Target, evaluate, targets
from ftsdk.evals.generation import Conversation

MakeRows = Callable[..., Any]


class Parrot:
    """Answers by a rule, and remembers the limits."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer = answer
        self.limits: list[int] = []
        self.opened = 0

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    def generate(
        self, conversations: Any, *, max_new_tokens: int, on_progress: Callable[[int, int], None] | None = None
    ) -> list[str]:
        self.limits.append(max_new_tokens)
        if on_progress is not None:
            on_progress(len(conversations), len(conversations))
        return [self.answer(conversation[-1]["content"]) for conversation in conversations]

    def target(self, name: str, identity: str = "one") -> Target:
        return ParrotTarget(name, identity, self)


@dataclasses.dataclass(frozen=True)
class ParrotTarget:
    name: str
    identity: str
    parrot: Parrot

    @contextlib.contextmanager
    def open(self) -> Iterator[Parrot]:
        self.parrot.opened += 1
        yield self.parrot


@pytest.fixture
def accuracy(make_rows: MakeRows) -> Eval:
    return Eval.exact_match(make_rows(*((str(n), "odd" if n % 2 else "even") for n in range(10))), name="accuracy")


def odd_only() -> Parrot:
    return Parrot(lambda _: "odd")


def always_right() -> Parrot:
    return Parrot(lambda asked: "odd" if int(asked) % 2 else "even")


def test_base_and_tuned_are_compared_example_by_example(accuracy: Eval, tmp_path: Path) -> None:
    report = evaluate(
        [accuracy], [odd_only().target("base"), always_right().target("tuned")], into=str(tmp_path), title="local:1"
    )

    base, tuned = report.score("accuracy", "base"), report.score("accuracy", "tuned")
    assert (base.n, base.correct, base.value) == (10, 5, 0.5)
    assert (tuned.n, tuned.correct, tuned.value, tuned.high) == (10, 10, 1.0, 1.0)
    (pair,) = report.pairs
    assert (pair.both, pair.only_base, pair.only_tuned, pair.neither) == (5, 0, 5, 0)
    assert pair.difference == 0.5
    assert 0 < pair.low < 0.5 < pair.high


def test_every_answer_is_kept_with_its_score_and_reason(accuracy: Eval, tmp_path: Path) -> None:
    evaluate([accuracy], [odd_only().target("base")], into=tmp_path)

    lines = (tmp_path / "accuracy" / "base.jsonl").read_text().splitlines()
    assert len(lines) == 10
    reason = "differs from the reference"
    assert json.loads(lines[2]) == {
        "index": 2,
        "prompt": "user: 2",
        "expected": "even",
        "output": "odd",
        "value": 0.0,
        "reason": reason,
    }
    report = json.loads((tmp_path / "report.json").read_text())
    assert EvalReport.from_dict(report, folder=tmp_path).score("accuracy", "base").correct == 5
    assert str(tmp_path) not in json.dumps(report)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "accuracy",
        "base.answers.jsonl",
        "base.jsonl",
        "report.json",
    ]


def test_a_second_evaluation_opens_no_model(accuracy: Eval, tmp_path: Path) -> None:
    base, tuned = odd_only(), always_right()
    seen: list[EvalProgress] = []
    first = evaluate([accuracy], [base.target("base"), tuned.target("tuned")], into=tmp_path)
    second = evaluate([accuracy], [base.target("base"), tuned.target("tuned")], into=tmp_path, on_progress=seen.append)

    assert second == first
    assert (base.opened, tuned.opened) == (1, 1)
    assert [(step.target, step.done, step.total) for step in seen] == [("base", 10, 10), ("tuned", 10, 10)]


def test_only_what_changed_is_measured_again(accuracy: Eval, make_rows: MakeRows, tmp_path: Path) -> None:
    parrot = odd_only()
    evaluate([accuracy], [parrot.target("base")], into=tmp_path)
    evaluate([accuracy], [parrot.target("base", "other weights")], into=tmp_path)
    assert parrot.opened == 2
    evaluate([dataclasses.replace(accuracy, max_new_tokens=5)], [parrot.target("base", "other weights")], into=tmp_path)
    assert parrot.opened == 3
    evaluate(
        [dataclasses.replace(accuracy, data=make_rows(("1", "odd")))],
        [parrot.target("base", "other weights")],
        into=tmp_path,
    )
    assert parrot.opened == 4


def test_rows_that_are_added_cost_only_themselves(make_rows: MakeRows, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(conversation: Conversation) -> str:
        asked.append(conversation[-1]["content"])
        return "odd"

    for rows in ([("1", "odd"), ("2", "even")], [("0", "even"), ("1", "odd"), ("2", "even"), ("1", "even")]):
        target = FunctionTarget(name="base", function=answer, revision="1")
        report = evaluate([Eval.exact_match(make_rows(*rows))], [target], into=tmp_path)
    assert asked == ["1", "2", "0"]  # and what two rows ask is asked once
    assert (report.scores[0].n, report.scores[0].correct) == (4, 1)


def test_another_scorer_judges_the_kept_answers(make_rows: MakeRows, tmp_path: Path) -> None:
    rows, parrot = make_rows(("1", "ODD"), ("2", "even")), odd_only()
    strict = evaluate([Eval.exact_match(rows)], [parrot.target("base")], into=tmp_path)
    lenient = evaluate([Eval.exact_match(rows, ignore_case=True)], [parrot.target("base")], into=tmp_path)

    assert (strict.scores[0].correct, lenient.scores[0].correct) == (0, 1)
    assert parrot.opened == 1
    kept = [json.loads(line)["value"] for line in (tmp_path / "exact_match" / "base.jsonl").read_text().splitlines()]
    assert kept == [1.0, 0.0]


@pytest.mark.parametrize("damage", ["", "{", '{"index": 0}\n'])
def test_damaged_results_are_measured_again(accuracy: Eval, tmp_path: Path, damage: str) -> None:
    parrot = odd_only()
    first = evaluate([accuracy], [parrot.target("base")], into=tmp_path)
    (tmp_path / "accuracy" / "base.jsonl").write_text(damage)

    assert evaluate([accuracy], [parrot.target("base")], into=tmp_path) == first
    assert parrot.opened == 1  # the answers are in a file of their own
    (tmp_path / "accuracy" / "base.answers.jsonl").write_text(damage)

    assert evaluate([accuracy], [parrot.target("base")], into=tmp_path) == first
    assert parrot.opened == 2


def test_answers_with_odd_line_separators_are_read_back_whole(make_rows: MakeRows, tmp_path: Path) -> None:
    item = Eval.exact_match(make_rows(("q", "a")))
    parrot = Parrot(lambda _: "a\u2028b\r\nc\x85")
    first = evaluate([item], [parrot.target("base")], into=tmp_path)

    assert evaluate([item], [parrot.target("base")], into=tmp_path) == first
    assert parrot.opened == 1


def test_a_failed_model_leaves_nothing_that_looks_finished(accuracy: Eval, tmp_path: Path) -> None:
    def fail(_: str) -> str:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate([accuracy], [odd_only().target("base"), Parrot(fail).target("tuned")], into=tmp_path)

    assert not (tmp_path / "report.json").exists()
    assert not (tmp_path / "accuracy" / "tuned.jsonl").exists()


def test_answers_may_be_a_margin_longer_than_the_longest_reference(make_rows: MakeRows, tmp_path: Path) -> None:
    parrot = odd_only()
    short = Eval.exact_match(make_rows(("1", "odd")), name="short")
    long = Eval.exact_match(make_rows(("1", "o" * 50)), name="long")
    fixed = Eval.exact_match(make_rows(("1", "odd")), name="fixed", max_new_tokens=3)

    evaluate([short, long, fixed], [parrot.target("base")], into=tmp_path)

    assert parrot.limits == [16, 58, 3]
    assert parrot.opened == 1


@pytest.mark.parametrize("evals", [0, 2])
def test_evals_need_names_of_their_own(accuracy: Eval, tmp_path: Path, evals: int) -> None:
    with pytest.raises(SpecError, match="at least one of evals, each with a name of its own"):
        evaluate([accuracy] * evals, [odd_only().target("base")], into=tmp_path)


def test_a_report_is_a_table_with_sentences(accuracy: Eval, tmp_path: Path) -> None:
    report = evaluate(
        [accuracy], [odd_only().target("base"), always_right().target("tuned")], into=tmp_path, title="local:1"
    )

    assert str(report).splitlines() == [
        "Evaluation of local:1",
        "",
        "eval      model   n  right   share  95% interval (Wilson)",
        "--------  -----  --  -----  ------  ---------------------",
        "accuracy  base   10      5   50.0%  23.7% to 76.3%",
        "accuracy  tuned  10     10  100.0%  72.2% to 100.0%",
        "",
        "accuracy: tuned minus base +50.0 points (95% interval +8.4 to +76.3): better than base, but narrowly: "
        "McNemar's exact test, which is more cautious, leaves it to chance.",
        "accuracy: both right on 5, only base on 0, only tuned on 5, neither on 0.",
        "accuracy: p = 0.062 (McNemar's exact test).",
        "Note: accuracy: the intervals of base and tuned overlap; the difference on the same examples is the sharper "
        "test.",
        "Note: accuracy, tuned against base: the smallest difference that these examples can detect is 67.3 points "
        "(with 80% power).",
        "Note: accuracy: n = 10 is small, one example is worth 10.0 points; use more examples for a firmer answer.",
        f"Every answer: {tmp_path}",
    ]


def test_a_report_states_when_the_tuned_is_worse_or_not_separable(accuracy: Eval, tmp_path: Path) -> None:
    even = evaluate([accuracy], [odd_only().target("base"), odd_only().target("tuned")], into=tmp_path / "even")
    worse = evaluate(
        [accuracy], [always_right().target("base"), Parrot(lambda _: "").target("tuned")], into=tmp_path / "worse"
    )

    assert "these examples can't tell the two apart" in str(even)
    assert "worse than base, and by more than chance would explain" in str(worse)


def test_a_report_never_reads_names_as_markup(tmp_path: Path, accuracy: Eval) -> None:
    report = evaluate(
        [accuracy], [odd_only().target("base"), always_right().target("tuned")], into=tmp_path, title="<script>"
    )
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(report)

    assert "only tuned on 5" in console.export_text()
    html = report._repr_html_()
    assert html in report.to_html()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_a_report_survives_pickling_and_plain_data(accuracy: Eval, tmp_path: Path) -> None:
    report = evaluate([accuracy], [odd_only().target("base"), always_right().target("tuned")], into=tmp_path)

    assert pickle.loads(pickle.dumps(report)) == report
    assert EvalReport.from_dict(json.loads(json.dumps(report.to_dict())), folder=tmp_path) == report


def test_an_unknown_score_names_those_there_are(accuracy: Eval, tmp_path: Path) -> None:
    report = evaluate([accuracy], [odd_only().target("base")], into=tmp_path)

    with pytest.raises(KeyError, match="base on accuracy"):
        report.score("accuracy", "tuned")


def test_examples_are_plain_tuples() -> None:
    assert Example([{"role": "user", "content": "q"}], "a") == ([{"role": "user", "content": "q"}], "a", {})


def test_a_right_answer_in_a_wrong_form_is_noted(tmp_path: Path) -> None:
    rows = Dataset.from_rows([{"prompt": f"mail {n}", "completion": "billing" if n % 2 else "A"} for n in range(20)])
    wordy = targets(lambda _: "Category: billing.", lambda _: "a rebilling")
    report = evaluate([Eval.exact_match(rows, name="accuracy")], wordy, into=tmp_path)
    assert [score.wrong_form for score in report.scores] == [10, 0]
    [note] = [note for note in report.notes if "form" in note]
    assert note.startswith("accuracy: 10 wrong answers of base contain the reference")
    assert report.score("accuracy", "base").correct == 0


def test_intervals_that_overlap_are_one_note(tmp_path: Path, accuracy: Eval) -> None:
    three = [odd_only().target(name) for name in ("base", "tuned", "few-shot")]
    report = evaluate([accuracy], three, into=tmp_path, compare_with="tuned")
    [note] = [note for note in report.notes if "overlap" in note]
    assert "the interval of tuned overlaps those of base, few-shot;" in note
