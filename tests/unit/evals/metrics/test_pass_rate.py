"""The share of scores that reach a threshold, and options in the name of a metric."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, Eval, Gate, SpecError
from ftsdk.evals import Example, Score, evaluate, get_metric, targets
from ftsdk.evals.metrics.pass_rate import PassRate, pass_rate
from ftsdk.evals.statistics import wilson_interval

SCORES = [Score(value, "") for value in (0.0, 0.5, 0.7, 0.9, 1.0)]


def test_scores_at_the_threshold_pass() -> None:
    assert pass_rate(threshold=0.7)(SCORES) == 0.6
    assert pass_rate(SCORES) == 0.2
    assert pass_rate(threshold=0.7).interval(SCORES, is_bounded=False)[:2] == wilson_interval(3, 5)[:2]


def test_the_name_has_the_threshold_and_finds_the_metric() -> None:
    chosen = pass_rate(threshold=0.7)
    assert chosen.name == "pass_rate(threshold=0.7)"
    assert get_metric(chosen.name) == get_metric("pass_rate( threshold = 0.7 )") == chosen
    assert get_metric("pass_rate") == PassRate(threshold=1.0)
    assert pickle.loads(pickle.dumps(chosen)) == chosen


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("pass_rate(threshold=high)", "threshold"),
        ("pass_rate(threshold=.nan)", "threshold"),
        ("pass_rate(limit=1)", "limit"),
        ("pass_rate(0.7)", "written as"),
        ("pass_rate(threshold=1, threshold=2)", "written as"),
        ("pass_rate(threshold=0.7", "end in a bracket"),
        ("mean(threshold=1)", "takes no options"),
    ],
)
def test_impossible_options_are_refused(name: str, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        get_metric(name)


def test_an_eval_carries_it_and_a_gate_reads_it(tmp_path: Path) -> None:
    def half(example: Example, answer: str) -> float:
        return 0.5 if answer == "half" else 0.0

    rows = Dataset.from_rows([{"prompt": f"{n}", "completion": "x"} for n in range(40)])
    measured = targets(lambda _: "none", lambda _: "half")
    item = Eval.of(rows, half, name="halves", metric=["pass_rate(threshold=0.5)"])
    gate = Gate(metric="halves", at_least=0.8)
    report = evaluate([item], measured, into=tmp_path, gate=gate)
    assert report.score("halves", "tuned").value == 1.0
    assert report.verdict is not None
    assert report.verdict.is_ship
    data: Any = item.to_dict()
    assert data["metric"] == "pass_rate(threshold=0.5)"
