"""A run made again in real workers, its record, and rows that are gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ftsdk import DatasetError, FineTuneJob
from ftsdk.data import Store
from ftsdk.job.reproducing import changed_versions, job_of_run, reproduce

pytestmark = pytest.mark.e2e


def test_a_run_is_reproduced_to_the_last_bit_and_recorded(make_job: Callable[..., FineTuneJob], tmp_path: Path) -> None:
    run = make_job(max_steps=4, seed=3).submit()
    run.wait(progress=False, poll_s=0.05)
    assert changed_versions(run) == ()
    repeat = reproduce(run)
    repeat.wait(progress=False, poll_s=0.05)
    assert repeat.ref != run.ref
    assert repeat.plan.spec == run.plan.spec
    found = run.compare_repeat(repeat)
    assert found.verdict == "reproduced", str(found)
    assert found.changes == ()
    made = run.technical_record(power_w=50, region="DE")
    assert "version of" not in str(made)
    assert made.facts["files"]["adapter_model.safetensors"] in made.write(tmp_path / "r.md").read_text(encoding="utf-8")
    other = job_of_run(run).replace(seed=4).submit()
    other.wait(progress=False, poll_s=0.05)
    assert run.compare_repeat(other).verdict != "reproduced"
    Store().get(run.plan.spec.train.fingerprint).unlink()
    with pytest.raises(DatasetError, match="can't be reproduced: its train rows"):
        reproduce(run)
