"""A scorer is one function, a metric is one function, and neither needs a change anywhere else."""

from __future__ import annotations

import pickle
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from ftsdk.errors import SpecError
from ftsdk.evals import (
    Eval,
    EvalReport,
    Example,
    FunctionTarget,
    Score,
    evaluate,
    get_metric,
    get_scorer,
    metric,
    scorer,
    scorer_names,
)
from ftsdk.evals.metrics import FunctionMetric
from ftsdk.evals.scorers import exact_match

MakeRows = Callable[..., Any]


@scorer
def word_f1(example: Example, answer: str, *, ignore_case: bool = True, weights: tuple[float, ...] = ()) -> Score:
    expected, found = (Counter((text.lower() if ignore_case else text).split()) for text in (example.expected, answer))
    common = (expected & found).total()
    value = 2 * common / (expected.total() + found.total()) if common else 0.0
    return Score(value, f"{common} words in common")


@scorer(is_unbounded=True)
def length(example: Example, answer: str) -> Score:
    return Score(len(answer), "characters")


@metric
def middle(scores: Sequence[Score]) -> float:
    return statistics.median(score.value for score in scores)


def measure(item: Eval, into: Path, base: str = "a b", tuned: str = "a b c") -> EvalReport:
    names = {"base": base, "tuned": tuned}
    return evaluate(
        [item],
        [FunctionTarget(name=name, function=lambda _, answer=answer: answer) for name, answer in names.items()],
        into=into,
    )


@pytest.fixture
def rows(make_rows: MakeRows) -> Any:
    return make_rows(("1", "a b c d"), ("2", "a b c"), ("3", "x"), ("4", "A c"))


def test_a_new_scorer_is_measured_and_compared_by_name(rows: Any, tmp_path: Path) -> None:
    report = measure(Eval.of(rows, "word_f1"), tmp_path)

    base, tuned = report.scores
    assert base.value == pytest.approx((2 / 3 + 4 / 5 + 0 + 1 / 2) / 4)
    assert (base.correct, base.interval, report.pairs[0].interval) == (None, "t", "t")
    assert 0 <= base.low < base.value < base.high <= 1
    assert tuned.value - base.value == pytest.approx(report.pairs[0].difference)
    assert report.pairs[0].counts == "tuned scored higher on 3, lower on 0, the same on 1"
    assert "2 words in common" in (tmp_path / "word_f1" / "base.jsonl").read_text()


def test_a_report_of_graded_scores_shows_values_and_methods(rows: Any, tmp_path: Path) -> None:
    text = str(measure(Eval.of(rows, "word_f1"), tmp_path))

    assert "eval     model  n  metric  value  95% interval    method" in text
    assert "word_f1  base   4  mean    49.2%" in text
    assert "n = 4 is small; use more examples" in text


def test_unbounded_scores_are_shown_as_plain_numbers(rows: Any, tmp_path: Path) -> None:
    report = measure(Eval.of(rows, length), tmp_path, base="x", tuned="four")

    assert (report.score("length", "base").value, report.score("length", "tuned").value) == (1.0, 4.0)
    assert "tuned minus base +3 (95% interval +3 to +3)" in str(report)


def test_an_interval_without_an_end_survives_plain_data(make_rows: MakeRows, tmp_path: Path) -> None:
    report = measure(Eval.of(make_rows(("1", "a")), length), tmp_path)

    assert report.to_dict()["scores"][0]["low"] is None
    assert EvalReport.from_dict(report.to_dict(), folder=tmp_path) == report


def test_a_new_metric_gets_bootstrap_intervals(rows: Any, tmp_path: Path) -> None:
    item = Eval.of(rows, "word_f1", metric="middle")
    report = measure(item, tmp_path)

    base = report.score("word_f1", "base")
    assert (base.metric, base.interval, base.value) == ("middle", "bootstrap", pytest.approx((2 / 3 + 1 / 2) / 2))
    assert base.low <= base.value <= base.high
    assert measure(item, tmp_path).scores == report.scores


def test_scorer_options_and_metric_survive_plain_data(rows: Any) -> None:
    item = Eval.of(rows, "word_f1", metric="middle", ignore_case=False, weights=[1, 2.5])
    written = item.to_dict()

    assert {"scorer": "word_f1", "metric": "middle", "ignore_case": False}.items() <= written.items()
    assert Eval.from_dict(written, lambda recipe: rows) == item


def test_a_scorer_with_options_pickles() -> None:
    chosen = exact_match.with_options(ignore_case=True, strip=True)

    assert pickle.loads(pickle.dumps(chosen)) == chosen
    assert dict(chosen.options) == {"ignore_case": True}


def test_an_unknown_scorer_is_refused_with_names_and_a_suggestion() -> None:
    assert {"exact_match", "word_f1", "length"} <= set(scorer_names())
    with pytest.raises(
        SpecError, match=r"unknown scorer 'word_f2'; did you mean 'word_f1'\? Known: .*exact_match.*'ftsdk\.scorers'"
    ):
        get_scorer("word_f2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore_cse": True}, "unknown option 'ignore_cse' of the scorer 'word_f1'; did you mean 'ignore_case'"),
        ({"ignore_case": 1}, "ignore_case of the scorer 'word_f1' must be bool; got 1"),
        ({"ignore_case": object()}, "must be bool"),
    ],
)
def test_wrong_scorer_options_are_refused(rows: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Eval.of(rows, "word_f1", **options)


def test_an_option_without_default_is_required(rows: Any) -> None:
    @scorer
    def by_unit(example: Example, answer: str, *, unit: Literal["word", "letter"]) -> Score:
        return Score(1.0, unit)

    with pytest.raises(SpecError, match="'by_unit' needs its option 'unit'"):
        Eval.of(rows, by_unit)
    with pytest.raises(SpecError, match="must be"):
        Eval.of(rows, by_unit, unit="line")
    assert Eval.of(rows, by_unit, unit="word").to_dict()["unit"] == "word"


@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), "1"])
def test_a_score_is_a_finite_number(value: Any) -> None:
    with pytest.raises(SpecError, match="must be a finite number"):
        Score(value, "")


@pytest.mark.parametrize(
    ("found", "message"),
    [(True, r"must return a Score\(value, reason\); got True"), (Score(1.5, ""), "outside 0 to 1")],
)
def test_a_scorer_that_returns_something_else_is_named(rows: Any, found: Any, message: str) -> None:
    @scorer(name=f"broken_{type(found).__name__}")
    def broken(example: Example, answer: str) -> Score:
        return found

    item = Eval.of(rows, broken)
    with pytest.raises(SpecError, match=message):
        item.score(item.examples()[0], "a")


def test_a_signature_that_cannot_work_is_refused() -> None:
    def one_argument(example: Example) -> Score:
        return Score(1.0, "")

    def reserved_option(example: Example, answer: str, *, name: str = "") -> Score:
        return Score(1.0, "")

    with pytest.raises(SpecError, match=r"must take \(example, answer\)"):
        scorer(one_argument)
    with pytest.raises(SpecError, match="an option 'name'"):
        scorer(reserved_option)


def test_a_name_belongs_to_one_function() -> None:
    def other(example: Example, answer: str) -> Score:
        return Score(1.0, "")

    for _ in range(2):  # a cell of a notebook may run again
        scorer(name="mine")(other)
    with pytest.raises(SpecError, match=r"'exact_match'.*already defined by ftsdk\.evals\.scorers\.exact_match"):
        scorer(name="exact_match")(other)


@pytest.mark.parametrize(
    "fields",
    [
        {"value": 10**400},
        {"value": 10**5000},
        {"value": True},
        {"label": 5},
        {"expected_label": ("a",)},
        {"error": 1},
        {"parts": {"a": float("nan")}},
        {"parts": {"a": 10**400}},
        {"parts": {"a": "1"}},
        {"parts": {1: 1.0}},
    ],
)
def test_a_score_holds_what_files_and_metrics_can_hold(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="of a score must be"):
        Score(**{"value": 1.0, "reason": "", **fields})


def test_references_are_looked_at_before_answers_are_asked(make_rows: MakeRows, tmp_path: Path) -> None:
    asked: list[object] = []
    item = Eval.of(make_rows(("q", "1"), ("r", "no number")), "numeric")
    with pytest.raises(SpecError, match="example 2"):
        evaluate(
            [item], [FunctionTarget(name="a", function=lambda messages: str(asked.append(messages)))], into=tmp_path
        )
    assert asked == []


@pytest.mark.parametrize("found", [float("nan"), float("inf"), 1.5, -0.1, None, "1", 10**400])
def test_a_metric_returns_a_number_within_its_bounds(found: Any) -> None:
    broken = FunctionMetric("broken", lambda scores: found, is_bounded=True)
    with pytest.raises(SpecError, match="the metric 'broken' must return"):
        broken([Score(1.0, "")])


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_no_interval_of_a_bounded_metric_is_a_point(value: float) -> None:
    best = FunctionMetric("best", lambda scores: max(score.value for score in scores), is_bounded=True)
    scores = [Score(value, "")] * 40
    low, high, _ = best.interval(scores, is_bounded=True)
    assert 0 <= low <= value <= high <= 1
    assert high - low > 0.05
    # Of four groups less is known than of forty examples.
    few = best.interval(scores, is_bounded=True, groups=[str(number % 4) for number in range(40)])
    assert few.high - few.low > high - low


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "weighted_f1", "corpus_chrf"])
def test_one_group_of_right_answers_shows_nothing(name: str) -> None:
    parts = {f"{what}_{order}": 9.0 for what in ("answer", "reference", "common") for order in range(1, 7)}
    scores = [Score(1.0, "", label, label, parts) for label in "ab" * 50]
    low, high, _ = get_metric(name).interval(scores, is_bounded=True, groups=["g"] * 100)
    assert (low <= 0.0, high >= 1.0) == (True, True)
