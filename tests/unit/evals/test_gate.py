"""Gates: decisions, their reasons, and how seldom they are wrong however often one looks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk import Gate
from ftsdk.errors import SpecError
from ftsdk.evals import (
    Eval,
    EvalReport,
    Example,
    ExampleResult,
    Score,
    Verdict,
    as_target,
    confidence_sequence,
    evaluate,
    judge_gate,
    metric,
    scorer,
    targets,
)
from ftsdk.evals.statistics import Bets

MakeRows = Callable[..., Any]


@scorer(is_unbounded=True, is_lower_better=True)
def gate_loss(example: Example, answer: str) -> Score:
    return Score(float(len(answer)), "its length")


@scorer(is_lower_better=True)
def gate_slips(example: Example, answer: str) -> Score:
    return Score(float(answer != example.expected), "counted")


@metric(is_bounded=True)
def gate_middle(scores: Sequence[Score]) -> float:
    """Return the mean, which no rule knows to be one."""
    return float(np.mean([score.value for score in scores]))


@pytest.fixture
def accuracy(make_rows: MakeRows) -> Eval:
    return Eval.exact_match(make_rows(*((str(n), str(n)) for n in range(400))), name="accuracy")


def results(values: Sequence[float], groups: Sequence[str] | None = None) -> list[ExampleResult]:
    return [
        ExampleResult(
            index=index,
            prompt="",
            expected="",
            output="",
            value=float(value),
            reason="",
            columns={} if groups is None else {"customer": groups[index]},
        )
        for index, value in enumerate(values)
    ]


def judged(gate: Gate, item: Eval, tuned: Sequence[float], base: Sequence[float] = ()) -> Verdict:
    return judge_gate(gate, [item], {(item.name, "tuned"): results(tuned), (item.name, "base"): results(base)})


def test_a_model_that_clearly_reaches_the_limit_ships(accuracy: Eval) -> None:
    verdict = judged(Gate(metric="accuracy", at_least=0.95), accuracy, [1.0] * 397 + [0.0] * 3)
    assert verdict.is_ship
    assert str(verdict).splitlines() == [
        "Verdict: ship",
        "  accuracy: tuned 99.2% on 400 examples, at least 97.2% with 95% confidence; must be at least 95%: shown",
    ]


def test_a_model_that_clearly_misses_the_limit_does_not_ship(accuracy: Eval) -> None:
    verdict = judged(Gate(metric="accuracy", at_least=0.95), accuracy, [1.0] * 340 + [0.0] * 60)
    assert verdict.decision == "don't ship"
    assert verdict.reasons == ("accuracy: tuned 85.0% on 400 examples; must be at least 95%: refuted",)
    assert verdict.to_settle == ()


def test_what_is_open_comes_with_what_would_settle_it(accuracy: Eval) -> None:
    gate = Gate(metric="accuracy", at_least=0.95)
    verdict = judged(gate, accuracy, [1.0] * 97 + [0.0] * 3)
    assert verdict.decision == "can't tell"
    (line,) = verdict.to_settle
    assert line.startswith("accuracy: about ")
    more = int(line.split()[2].replace(",", ""))
    whole = [0.0 if n % 100 < 3 else 1.0 for n in range(round((100 + more) * 1.05))]
    assert judged(gate, accuracy, whole).is_ship


def test_answers_on_the_limit_are_settled_by_no_number(accuracy: Eval) -> None:
    verdict = judged(Gate(metric="accuracy", at_least=0.95), accuracy, [1.0] * 95 + [0.0] * 5)
    assert "too close to the limit" in verdict.to_settle[0]


def test_no_answers_yet_decide_nothing(accuracy: Eval) -> None:
    gate = Gate(metric="accuracy", at_least=0.5, no_regression={"accuracy": 0.01})
    verdict = judged(gate, accuracy, [])
    assert (verdict.decision, len(verdict.to_settle)) == ("can't tell", 2)


def test_a_regression_stops_a_model_that_is_good_enough(accuracy: Eval, make_rows: MakeRows) -> None:
    general = Eval.exact_match(make_rows(("a", "b")), name="general")
    found = {
        ("accuracy", "tuned"): results([1.0] * 400),
        ("general", "base"): results([1.0] * 380 + [0.0] * 20),
        ("general", "tuned"): results([1.0] * 320 + [0.0] * 80),
    }
    gate = Gate(metric="accuracy", at_least=0.95, no_regression={"general": 0.01})
    verdict = judge_gate(gate, [accuracy, general], found)
    assert verdict.decision == "don't ship"
    assert verdict.reasons[1] == (
        "general: tuned 15.0 points worse than base on 400 examples; may be 1 point worse: refuted"
    )
    found["general", "tuned"] = results([1.0] * 400)
    assert judge_gate(gate, [accuracy, general], found).is_ship


def test_better_than_asks_for_more_than_a_tie(accuracy: Eval) -> None:
    gate = Gate(metric="accuracy", better_than="base")
    same = [1.0, 0.0] * 200
    assert judged(gate, accuracy, same, same).decision == "can't tell"
    assert judged(gate, accuracy, [1.0] * 400, same).is_ship
    assert judged(gate, accuracy, same, [1.0] * 400).decision == "don't ship"


def test_of_errors_less_is_better(make_rows: MakeRows) -> None:
    slips = Eval.of(make_rows(("a", "b")), gate_slips, name="slips")
    gate = Gate(metric="slips", at_most=0.1, better_than="base")
    verdict = judged(gate, slips, [0.0] * 300, [0.0, 1.0] * 150)
    assert verdict.is_ship
    assert "tuned 50.0 points better than base" in verdict.reasons[1]
    assert judged(gate, slips, [0.0, 1.0] * 150, [0.0] * 300).decision == "don't ship"
    with pytest.raises(SpecError, match="at_most"):
        judged(Gate(metric="slips", at_least=0.9), slips, [0.0])


def test_a_metric_that_is_no_mean_is_judged_by_its_interval(make_rows: MakeRows) -> None:
    item = Eval.of(make_rows(("a", "b")), "exact_match", name="mails", metric=["mean", gate_middle])
    gate = Gate(metric="mails/gate_middle", at_least=0.8, no_regression={"gate_middle": 0.05})
    assert judged(gate, item, [1.0] * 200, [1.0] * 200).is_ship
    assert judged(gate, item, [1.0] * 100 + [0.0] * 100, [1.0] * 200).decision == "don't ship"
    assert judged(gate, item, [1.0] * 170 + [0.0] * 30, [1.0] * 170 + [0.0] * 30).decision == "can't tell"
    # A single look at ever so few right answers shows nothing.
    assert judged(gate, item, [1.0] * 4, [1.0] * 4).decision == "can't tell"


def test_values_without_bounds_cannot_be_gated(make_rows: MakeRows) -> None:
    loss = Eval.of(make_rows(("a", "b")), gate_loss, name="loss")
    with pytest.raises(SpecError, match="no bounds"):
        judged(Gate(metric="loss", better_than="base"), loss, [1.0], [2.0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metric": "accuracy"}, "no condition"),
        ({"metric": "accuracy", "at_least": 1.5}, "at_least"),
        ({"metric": "accuracy", "at_least": 95}, "at_least"),
        ({"metric": "accuracy", "at_least": 0.9, "confidence": 1.0}, "confidence"),
        ({"metric": "accuracy", "no_regression": {"general": 1.0}}, "general"),
        ({"metric": "accuracy", "no_regression": {"general": -0.1}}, "general"),
        ({"metric": "accuracy", "at_leest": 0.9}, "at_least"),
    ],
)
def test_an_impossible_gate_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Gate(**fields)


@pytest.mark.parametrize("wrong", ["acuracy", "accuracy/f1", "mean/accuracy"])
def test_a_gate_on_what_is_not_measured_is_refused(accuracy: Eval, wrong: str) -> None:
    with pytest.raises(SpecError, match="accuracy"):
        judged(Gate(metric=wrong, at_least=0.9), accuracy, [1.0])


def test_a_gate_against_a_target_that_is_not_there_is_refused(accuracy: Eval) -> None:
    with pytest.raises(SpecError, match="tuned, base"):
        judged(Gate(metric="accuracy", better_than="frontier"), accuracy, [1.0], [1.0])


def test_a_gate_survives_json() -> None:
    gate = Gate(metric="accuracy", at_least=0.95, no_regression={"general": 0.01}, better_than="base")
    assert Gate.from_json(gate.to_json()) == gate
    assert Gate.from_dict(gate.to_dict()) == gate


def test_a_report_prints_and_keeps_the_verdict(accuracy: Eval, tmp_path: Path) -> None:
    def right(messages: Any) -> str:
        return messages[-1]["content"]

    def silent(messages: Any) -> str:
        return ""

    gate = Gate(metric="accuracy", at_least=0.9)
    report = evaluate([accuracy], targets(silent, right), into=tmp_path, gate=gate)
    assert report.verdict is not None
    assert report.verdict.is_ship
    assert "Verdict: ship" in str(report)
    again = EvalReport.from_dict(report.to_dict())
    assert (again.verdict, again.gate) == (report.verdict, gate)
    with pytest.raises(SpecError, match="verdict"):
        EvalReport.from_dict({**report.to_dict(), "verdict": {"decision": "maybe", "reasons": []}})


@pytest.mark.parametrize("share", [0.95, 0.9])
def test_looking_after_every_50_examples_ships_few_bad_models(accuracy: Eval, share: float) -> None:
    gate = Gate(metric="accuracy", at_least=0.95)
    chance = np.random.default_rng(7)
    shipped = 0
    for _ in range(100):
        values = (chance.random(400) < share).astype(float).tolist()
        shipped += any(judged(gate, accuracy, values[:n]).is_ship for n in range(50, 401, 50))
    assert shipped <= 8  # of a level of 5%; more than 8 would come by chance in 6 of 100 such tests, were it reached


def test_the_order_of_the_rows_does_not_matter_at_the_end(accuracy: Eval) -> None:
    # Rows sorted by how hard they are: a bettor who stopped in the middle would have shipped.
    gate = Gate(metric="accuracy", at_least=0.95)
    sorted_rows = [1.0] * 300 + [0.0] * 40
    mixed = [0.0 if n % 17 < 2 else 1.0 for n in range(340)]
    assert judged(gate, accuracy, sorted_rows) == judged(gate, accuracy, mixed)


@dataclass(frozen=True)
class OfCustomers:
    """Rows of four customers, 25 each; fits `EvalData` and `HasColumns`."""

    rows: Any
    name: str = "mails"
    format: str = "chat"
    fingerprint: str = "mails"

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def column(self, name: str) -> list[str]:
        return [f"c{n // 25}" for n in range(len(self.rows))]

    def to_dict(self, base: Path | None = None) -> dict[str, Any]:
        return {}


def test_examples_of_a_group_count_once_and_only_when_whole(make_rows: MakeRows) -> None:
    rows = OfCustomers(make_rows(*((str(n), str(n)) for n in range(100))))
    customers = rows.column("customer")
    item = Eval.exact_match(rows, name="accuracy", group="customer")
    gate = Gate(metric="accuracy", at_least=0.9)

    def judge(n: int) -> Verdict:
        return judge_gate(gate, [item], {("accuracy", "tuned"): results([1.0] * n, customers)})

    assert judge(100).decision == "can't tell"  # four customers
    assert "on 75 examples" in judge(99).reasons[0]
    alone = Eval.exact_match(rows, name="accuracy")
    assert judged(gate, alone, [1.0] * 100).is_ship


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_confidence_sequence_holds_its_mean_whatever_the_order(values: list[float]) -> None:
    low, high = confidence_sequence(values)
    assert 0 <= low <= float(np.mean(values)) + 1e-9
    assert float(np.mean(values)) - 1e-9 <= high <= 1
    assert confidence_sequence(values[::-1]) == pytest.approx((low, high), abs=1e-6)
    mirrored = confidence_sequence([1 - value for value in values])
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-6)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_confidence_sequence_holds_the_truth_at_all_times(share: float) -> None:
    chance = np.random.default_rng(8)
    missed = 0
    for _ in range(200):
        values = (chance.random(300) < share).astype(float).tolist()
        looks = [Bets.on(values[:n]) for n in range(10, 301, 10)]
        missed += any(
            bets.against_at_most(share).is_enough(0.025) or bets.against_at_least(share).is_enough(0.025)
            for bets in looks
        )
    assert missed <= 16  # of 200 at 5%: more would come by chance in 2 of 100 such tests, were the level reached


@pytest.mark.parametrize("wrong", [[1.5], [-0.1], [float("nan")]])
def test_bets_need_values_between_0_and_1(wrong: list[float]) -> None:
    with pytest.raises(SpecError, match="between 0 and 1"):
        confidence_sequence(wrong)


def test_errors_never_speak_for_the_model(accuracy: Eval) -> None:
    tuned = results([1.0] * 300 + [0.0] * 100)
    base = results([0.0] * 200 + [1.0] * 200)
    failed = [*(dataclasses.replace(one, error="HTTP 503") for one in base[:200]), *base[200:]]
    for gate in (
        Gate(metric="accuracy", better_than="base"),
        Gate(metric="accuracy", no_regression={"accuracy": 0.01}),
    ):
        assert judge_gate(gate, [accuracy], {("accuracy", "tuned"): tuned, ("accuracy", "base"): base}).is_ship
        verdict = judge_gate(gate, [accuracy], {("accuracy", "tuned"): tuned, ("accuracy", "base"): failed})
        assert verdict.decision == "can't tell"
        assert "200 without an answer from base counted as right" in verdict.reasons[0]
        assert verdict.to_settle == ("accuracy: evaluate again, for the 200 answers of base that are missing",)


def test_errors_of_the_base_do_not_refute_the_model(accuracy: Eval) -> None:
    base = [dataclasses.replace(one, error="HTTP 503") for one in results([0.0] * 400)]
    found = {("accuracy", "tuned"): results([0.0] * 400), ("accuracy", "base"): base}
    gate = Gate(metric="accuracy", no_regression={"accuracy": 0.01})
    assert judge_gate(gate, [accuracy], found).decision == "can't tell"


def test_a_verdict_counts_the_errors_of_the_model(accuracy: Eval) -> None:
    tuned = results([1.0] * 395 + [0.0] * 5)
    tuned = [*tuned[:395], *(dataclasses.replace(one, error="HTTP 503") for one in tuned[395:])]
    verdict = judge_gate(Gate(metric="accuracy", at_least=0.9), [accuracy], {("accuracy", "tuned"): tuned})
    assert verdict.is_ship
    assert "400 examples (5 without an answer from tuned counted as wrong)" in verdict.reasons[0]


def test_a_metric_of_classes_counts_errors_of_the_base_as_right(make_rows: MakeRows) -> None:
    item = Eval.of(make_rows(*(("q", "ab"[n % 2]) for n in range(200))), "choice", name="c", metric="macro_f1")
    wrong = [
        dataclasses.replace(one, label=None, expected_label="ab"[one.index % 2], error="HTTP 503")
        for one in results([0.0] * 200)
    ]
    right = [dataclasses.replace(one, value=1.0, label=one.expected_label, error=None) for one in wrong]
    gate = Gate(metric="c", better_than="base")
    assert judge_gate(gate, [item], {("c", "tuned"): right, ("c", "base"): wrong}).decision == "can't tell"


@pytest.mark.parametrize(
    ("gate", "names", "message"),
    [
        (Gate(metric="accuracy", no_regression={"accuracy": 0.01}), ["base"], "with itself"),
        (Gate(metric="accuracy", better_than="tuned"), ["base", "tuned"], "than itself"),
        (Gate(metric="accuracy", better_than="other"), ["base", "tuned"], "'other'"),
        (Gate(metric="acuracy", at_least=0.9), ["base", "tuned"], "acuracy"),
    ],
)
def test_a_gate_that_cannot_be_judged_stops_before_an_answer(
    accuracy: Eval, tmp_path: Path, gate: Gate, names: list[str], message: str
) -> None:
    asked: list[object] = []
    measured = [as_target(name, lambda messages: str(asked.append(messages))) for name in names]
    with pytest.raises(SpecError, match=message):
        evaluate([accuracy], measured, into=tmp_path, gate=gate)
    assert asked == []


def test_equal_answers_of_few_groups_do_not_pass_a_gate(make_rows: MakeRows) -> None:
    rows = make_rows(*((str(n), str(n)) for n in range(400)))
    item = dataclasses.replace(Eval.of(rows, "exact_match", name="c", metric=gate_middle), group="customer")
    found = results([1.0] * 400, [str(n % 4) for n in range(400)])
    gate = Gate(metric="c", at_least=0.9, no_regression={"c": 0.05})
    verdict = judge_gate(gate, [item], {("c", "tuned"): found, ("c", "base"): found})
    assert verdict.decision == "can't tell"
