"""What differs between two runs: the fields of the job, what the backend chose, and what came out."""

from __future__ import annotations

from typing import Any

from ftsdk import Dataset, Eval, FineTuneJob, LoRA
from ftsdk.evals import evaluate, targets
from ftsdk.protocol import EvalEvent, StepEvent
from ftsdk.run.difference import Change, difference
from ftsdk.run.evaluation import results_folder
from ftsdk.run.ledger import Record

TRAIN = Dataset.from_rows([{"prompt": f"train {n}", "completion": "yes"} for n in range(40)], name="train")


def record(key: str, *, request: Any = None, outcome: Any = None, **changes: Any) -> Record:
    job = FineTuneJob(**{"model": "org/name", "train": TRAIN, **changes})
    plan = {"backend": "local", "spec": job.spec().to_dict(), "request": request or {}}
    return Record(ref=f"local:{key}", name=None, plan=plan, options={}, outcome=outcome, state="succeeded")


def test_equal_runs_differ_in_nothing() -> None:
    found = difference(record("a"), record("b"))
    assert found.changes == ()
    assert "nothing differs" in str(found)


def test_losses_stand_beside_the_changes() -> None:
    falling = [StepEvent(seq=n, at=float(n), step=n, total_steps=20, loss=2.0 - n / 10) for n in range(1, 11)]
    checked = [
        EvalEvent(seq=10 + n, at=1.0, step=n, name="validation", metrics={"loss": loss})
        for n, loss in ((5, 1.25), (10, 1.5))
    ]
    found = difference(record("a"), record("b"), events=(falling + checked, falling[:1]))
    shown = {change.field: (change.first, change.second) for change in found.results}
    assert shown["training loss, last tenth"] == ("1", "1.9")
    assert shown["validation loss, last"] == ("1.5", None)
    assert shown["validation loss, lowest"] == ("1.25 (step 5)", None)


def test_a_changed_field_is_named_once() -> None:
    found = difference(
        record("a", tuning=LoRA(rank=8), request={"training": {"tuning": {"rank": 8}, "micro_batch_size": 4}}),
        record("b", tuning=LoRA(rank=16), request={"training": {"tuning": {"rank": 16}, "micro_batch_size": 2}}),
    )
    assert found.changes == (
        Change(field="tuning.rank", first=8, second=16),
        Change(field="request.training.micro_batch_size", first=4, second=2),
    )


def test_several_changes_explain_nothing_by_themselves() -> None:
    request = {"training": {"total_steps": 10}}
    found = difference(record("a", request=request), record("b", epochs=5, learning_rate=1e-3))
    assert "2 things differ (epochs, learning_rate)" in found.notes[0]
    assert "Note: 2 things differ" in str(found)


def test_scores_time_and_price_stand_beside_the_changes() -> None:
    for key, right in (("a", 5), ("b", 9)):
        rows = Dataset.from_rows([{"prompt": f"test {n}", "completion": "yes"} for n in range(10 + (key == "b"))])
        evaluate(
            [Eval.exact_match(rows, name="accuracy")],
            targets(
                lambda _: "no", lambda messages, right=right: "yes" if int(messages[-1]["content"][5:]) < right else ""
            ),
            into=results_folder(f"local:{key}") / "evals",
        )
    outcome = {"state": "succeeded", "seconds": 90.0, "cost_usd": "1.5"}
    found = difference(record("a", outcome=outcome), record("b", epochs=5, outcome=outcome))
    shown = {change.field: (change.first, change.second) for change in found.results}
    assert shown["accuracy (tuned)"] == ("50.0%", "81.8%")
    assert shown["cost_usd"] == ("$1.50", "$1.50")
    assert found.notes == ("measured on different rows, so the scores can't be compared: accuracy",)
    assert found.to_dict()["changes"] == [{"field": "epochs", "first": None, "second": 5.0}]
    assert "accuracy (tuned)" in found.to_html()


def test_a_damaged_outcome_is_shown_as_it_is() -> None:
    outcome = {"cost_usd": "much", "seconds": [1]}
    found = difference(record("a", outcome=outcome), record("b"))
    assert [change.first for change in found.results[1:]] == ["much", "[1]"]
