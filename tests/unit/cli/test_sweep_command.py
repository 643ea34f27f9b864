"""`ftsdk sweep`, at a backend that plays a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from swept_backend import job_on
from typer.testing import CliRunner, Result

from ftsdk import SpecError, runs
from ftsdk.cli.app import app
from ftsdk.cli.sweep import settings_of
from ftsdk.testing import ScriptedBackend


@pytest.fixture
def job_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job whose backend each command finds by its entry point; a run costs up to $2."""
    metadata = tmp_path / "site" / "scripted-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[ftsdk.backends]\nscripted = ftsdk.testing:ScriptedBackend\n")
    monkeypatch.syspath_prepend(metadata.parent)
    job = job_on(ScriptedBackend(root=tmp_path / "there", cost_usd=(0.5, 1, 2)))
    job.to_yaml(tmp_path / "job.yaml")
    return tmp_path / "job.yaml"


def ftsdk(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_settings_are_lists_without_their_brackets() -> None:
    assert settings_of(["learning_rate=1e-4,2.5e-4", "tuning.rank=16, 32", "schedule=linear", "seed=[1,2]"]) == {
        "learning_rate": [1e-4, 2.5e-4],
        "tuning.rank": [16, 32],
        "schedule": ["linear"],
        "seed": [1, 2],
    }
    for wrong in (["epochs"], ["epochs="], ["=1"], ["epochs=1", "epochs=2"], ["tuning={kind: lora"]):
        with pytest.raises(SpecError, match="--set"):
            settings_of(wrong)


def test_a_dry_run_shows_the_plan_and_starts_nothing(job_file: Path, ftsdk_home: Path) -> None:
    words = ("sweep", job_file, "--set", "learning_rate=1e-4,2e-4", "--budget-usd", "20", "--dry-run")
    shown = ftsdk(*words)
    assert shown.exit_code == 0
    assert "sweep of 2 runs" in shown.output
    assert "$1.00 to $4.00 together" in shown.output
    assert len(json.loads(ftsdk(*words, "--json").output)["trials"]) == 3
    assert not (ftsdk_home / "sweeps").exists()


def test_a_sweep_runs_to_its_end_and_is_shown_again(job_file: Path, tmp_path: Path) -> None:
    page, plot = tmp_path / "sweep.html", tmp_path / "sweep.svg"
    done = ftsdk("sweep", job_file, "--set", "epochs=1,2", "--budget-usd", "6", "--html", page, "--plot", plot)
    assert done.exit_code == 0, done.output
    assert "3 of 3 runs ended; at most $6.00 of $6.00 spent" in done.output
    assert page.read_text().startswith("<!doctype html>")
    assert "</svg>" in plot.read_text()
    found: dict[str, Any] = json.loads(ftsdk("sweep", "list", "--json").output)[0]
    assert {one["state"] for each in found["configurations"] for one in each["trials"]} == {"succeeded"}
    assert ftsdk("sweep", "show", found["id"]).output in done.output
    assert ftsdk("sweep", "wait", found["id"], "--no-evaluate").exit_code == 0
    assert ftsdk("sweep", "cancel", found["id"]).output.startswith(f"sweep {found['id']}: 3 of 3 runs ended")
    assert len(runs(refresh=False)) == 3


def test_a_sweep_without_a_winner_exits_with_1(job_file: Path) -> None:
    done = ftsdk("sweep", job_file, "--set", "epochs=1", "--budget-usd", "1.50")
    assert done.exit_code == 1
    assert not runs()


def test_nothing_to_list_says_how_to_start(job_file: Path) -> None:
    assert "no sweeps yet" in ftsdk("sweep", "list").output
