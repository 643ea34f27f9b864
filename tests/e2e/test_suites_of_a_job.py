"""A run measures the suites of its job."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ftsdk import FineTuneJob, Run
from ftsdk.evals.suites import bias

pytestmark = pytest.mark.e2e


def test_a_run_measures_the_suites_of_its_job(make_job: Callable[..., FineTuneJob]) -> None:
    run = make_job(evals=bias(), max_steps=2, checkpoint_steps=None).submit()
    run.wait()
    report = Run.open(run.ref).evaluate(progress=False)

    assert report.score("bias", "tuned").n == 50
    assert {(score.target, score.metric) for score in report.scores} == {
        (target, metric) for target in ("base", "tuned") for metric in ("mean", "rarer_decision")
    }
