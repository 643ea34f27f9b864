"""The settings of a sweep: paths and values that a job can have, and the trials that they make."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from swept_backend import SweptBackend, job_on

from ftsdk import DoRA, FineTuneJob, LoRA, SpecError
from ftsdk.job.sweep.settings import changed, read_settings, trials_of


@pytest.fixture
def job(tmp_path: Path) -> FineTuneJob:
    return job_on(SweptBackend(root=tmp_path), tuning=LoRA(rank=16), seed=7)


def labels(job: FineTuneJob, settings: Mapping[str, Any], *, grid: bool = False) -> list[str]:
    return [trial.label for trial in trials_of(job, read_settings(job, settings), grid=grid)]


def test_one_thing_changes_at_a_time_from_the_job_as_it_is(job: FineTuneJob) -> None:
    found = labels(job, {"learning_rate": [1e-4, 2e-4], "tuning.rank": [16, 32]})
    assert found == ["unchanged", "learning_rate=0.0001", "learning_rate=0.0002", "tuning.rank=32"]


def test_a_grid_has_every_combination(job: FineTuneJob) -> None:
    found = labels(job, {"learning_rate": [1e-4, 2e-4], "tuning.rank": [16, 32]}, grid=True)
    assert found == [f"learning_rate={rate}, tuning.rank={rank}" for rate in (0.0001, 0.0002) for rank in (16, 32)]


def test_seeds_repeat_each_configuration(job: FineTuneJob) -> None:
    found = labels(job, {"seed": [1, 2], "epochs": [1]})
    assert found == ["unchanged, seed=1", "unchanged, seed=2", "epochs=1, seed=1", "epochs=1, seed=2"]


def test_values_may_be_objects_and_numbers_of_numpy(job: FineTuneJob) -> None:
    found = labels(job, {"tuning": [DoRA(rank=8), LoRA(rank=16)], "learning_rate": np.array([1e-4, 1e-4])})
    assert found == ["unchanged", "tuning=dora(rank=8)", "learning_rate=0.0001"]


def test_only_the_changed_field_changes(job: FineTuneJob) -> None:
    made = changed(job, {"tuning.rank": 32, "early_stopping.patience": 3})
    assert made.tuning == LoRA(rank=32)
    assert made.early_stopping is not None
    assert made.early_stopping.patience == 3
    assert made.replace(tuning=job.tuning, early_stopping=None).spec() == job.replace(early_stopping=None).spec()
    assert job.tuning == LoRA(rank=16)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lerning_rate": [1e-4]}, "unknown field 'lerning_rate'; did you mean 'learning_rate'"),
        ({"lr": [1e-4]}, "learning_rate"),
        ({"tuning.rnak": [8]}, "tuning.rnak=8: unknown option 'rnak'; did you mean 'rank'"),
        ({"tuning.rank": [8, 0]}, "tuning.rank=0: "),
        ({"schedule": ["cosin"]}, "schedule=cosin: .*cosine"),
        ({"learning_rate": 1e-4}, r"learning_rate needs a list of values, such as \[0.0001\]"),
        ({"learning_rate": "1e-4"}, "needs a list"),
        ({"learning_rate": []}, "learning_rate has no values"),
        ({"backend": ["local"]}, "backend can't be swept"),
        ({"model.id": ["a/b"]}, "can't be compared"),
        ({"budget_usd": [1]}, r"sweep\(\.\.\., budget_usd=\)"),
        ({"tuning..rank": [1]}, "no field"),
        ({"learning_rate.x": [1]}, "learning_rate.x=1"),
        ({}, "needs settings"),
    ],
)
def test_what_a_job_cannot_have_is_refused_by_name(job: FineTuneJob, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        read_settings(job, settings)


def test_all_problems_are_named_at_once(job: FineTuneJob) -> None:
    with pytest.raises(SpecError, match=r"(?s)epochs=-1.*batch_size=0"):
        read_settings(job, {"epochs": [1, -1], "batch_size": [0]})


def test_a_slip_does_not_make_thousands_of_runs(job: FineTuneJob) -> None:
    settings = {"seed": list(range(20)), "batch_size": list(range(1, 20)), "epochs": [1, 2]}
    with pytest.raises(SpecError, match="760 runs, more than 200"):
        trials_of(job, read_settings(job, settings), grid=True)
