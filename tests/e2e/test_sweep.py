"""A sweep of real runs: the tiny model, through the local backend's worker, with a verdict on test data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ftsdk import Dataset, Eval, FineTuneJob, MedianRule, sweep

if TYPE_CHECKING:
    from forked_workers import ForkedLocal

pytestmark = pytest.mark.e2e

ROWS = [
    {"prompt": f"{word} {n}", "completion": topic}
    for n in range(12)
    for word, topic in (("savings account", "banking"), ("flight to rome", "travel"), ("rain in the city", "weather"))
]


def test_a_rate_that_learns_wins_and_is_judged_on_test_data(
    make_job: Callable[..., FineTuneJob], forked_local: ForkedLocal
) -> None:
    train, validation, test = Dataset.from_rows(ROWS).split(validation=0.25, test=0.25, seed=3)
    assert validation is not None
    assert test is not None
    job = make_job(
        train=train,
        validation=validation,
        learning_rate=1e-5,
        eval_steps=3,
        evals=[Eval.of(test, "loss", name="test_loss")],
        backend=forked_local,
    )
    found = sweep(job, {"learning_rate": [2e-2]}, stop=MedianRule(least_trials=1))
    found.wait(progress=False, poll_s=0.05)
    table = found.table()
    assert table.best is not None
    assert table.best.label == "learning_rate=0.02"
    best = found.best()
    assert best.sweep is not None
    assert best.sweep["changes"] == {"learning_rate": 0.02}
    report = found.evaluate(progress=False)
    assert {pair.base for pair in report.pairs} == {"base", "unswept"}
    assert all(pair.difference < 0 for pair in report.pairs)  # a lower loss
    verdict = found.table().verdict
    assert "test_loss against the job as it is: -" in verdict
    assert "the p-values allow for the 2 comparisons above (Holm)" in verdict
