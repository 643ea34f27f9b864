"""Whether there are enough rows: by evaluated runs of one job on different numbers of them, or not known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftsdk import Dataset, Eval, FineTuneJob
from ftsdk.data.report.learning_curve import NO_RUN, CurvePoint, enough_rows
from ftsdk.evals import evaluate, targets
from ftsdk.run.evaluation import results_folder
from ftsdk.run.learning_points import learning_points
from ftsdk.run.ledger import Ledger, Record

TEST = Dataset.from_rows([{"prompt": f"test {n}", "completion": "yes"} for n in range(200)], name="test")


def job(rows: int, **changes: Any) -> FineTuneJob:
    data = Dataset.from_rows([{"prompt": f"train {n}", "completion": "yes"} for n in range(rows)], name="train")
    return FineTuneJob(model="org/name", train=data, **changes)


def evaluated(key: str, rows: int, right: int, **changes: Any) -> None:
    """Put a run into the ledger, and evaluate it by a function that gets so many of the 200 right."""
    ref = f"local:{key}"
    Ledger().intend(
        Record(ref=ref, name=None, plan={"spec": job(rows, **changes).spec().to_dict()}, options={}, created_at=rows)
    )

    def tuned(messages: Any) -> str:
        return "yes" if int(messages[-1]["content"].split()[1]) < right else "no"

    evals = [Eval.exact_match(TEST, name="accuracy")]
    evaluate(evals, targets(lambda messages: "no", tuned), into=results_folder(ref) / "evals")


def test_without_a_run_nothing_is_known() -> None:
    assert learning_points(job(40).spec()) == []
    assert enough_rows([]) == NO_RUN


def test_one_number_of_rows_tells_nothing() -> None:
    evaluated("a", 40, 150)
    assert "one number of rows, 40; train on half" in enough_rows(learning_points(job(40).spec()))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (100, 170, "more rows of this kind may help"),
        (150, 156, "can't tell"),
        (170, 120, "the run on more rows is worse"),
    ],
)
def test_the_two_largest_sizes_are_compared(before: int, after: int, says: str) -> None:
    evaluated("a", 20, 20)
    evaluated("b", 40, before)
    evaluated("c", 80, after)
    found = enough_rows(learning_points(job(80).spec()))
    assert found.startswith(says)
    assert "with 40 rows" in found
    assert "runs local:b and local:c" in found


def test_a_gain_too_small_to_matter_is_said_to_be_little() -> None:
    ends = {"low": 0.799, "high": 0.801}
    points = [
        CurvePoint(run=f"r{rows}", rows=rows, name="accuracy", data="d", value=0.8 + rows / 1e6, **ends)
        for rows in (10, 20)
    ]
    assert enough_rows(points).startswith("more rows of this kind bring little")


def test_runs_of_another_job_and_damaged_results_are_left_out() -> None:
    evaluated("a", 40, 100)
    evaluated("b", 80, 190, epochs=9)
    evaluated("c", 60, 190)
    (results_folder("local:c") / "evals" / "report.json").write_text("[" * 100_000)
    assert [point.run for point in learning_points(job(40, budget_usd=3).spec())] == ["local:a"]
    report_file = results_folder("local:a") / "evals" / "report.json"
    report = json.loads(report_file.read_text())
    report_file.write_text(json.dumps({"scores": [score | {"data": ""} for score in report["scores"]]}))
    assert learning_points(job(40).spec()) == []


def test_scores_on_other_test_rows_are_not_compared() -> None:
    point = {"name": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6}
    points = [CurvePoint(run=f"r{n}", rows=n, data=str(n), **point) for n in (10, 20)]  # type: ignore[arg-type]
    assert enough_rows(points).startswith("not known")
