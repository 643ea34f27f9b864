"""The commands that watch, log, cancel, resume and collect a run, at a backend that plays a scenario."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ftsdk import Dataset, FineTuneJob, Run
from ftsdk.cli.app import app
from ftsdk.cli.exit_codes import CANCELLED, FAILED, code_of_error
from ftsdk.errors import FtsdkError
from ftsdk.testing import ScriptedBackend


@pytest.fixture
def submit(tmp_path: Path, model_of_headers: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Run]:
    """Submit a job to a backend that each command finds by its entry point."""
    metadata = tmp_path / "site" / "scripted-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[ftsdk.backends]\nscripted = ftsdk.testing:ScriptedBackend\n")
    monkeypatch.syspath_prepend(metadata.parent)

    def start(script: str) -> Run:
        rows = Dataset.from_rows([{"prompt": f"mail {n}", "completion": "a"} for n in range(8)])
        backend = ScriptedBackend(root=tmp_path / "runs", script=script)
        return FineTuneJob(model=str(model_of_headers), train=rows, backend=backend).submit()

    return start


def ftsdk(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_logs_are_the_events_up_to_now_in_order(submit: Callable[[str], Run]) -> None:
    run = submit("succeeds")
    followed = ftsdk("logs", run.ref, "--follow")
    assert followed.exit_code == 0
    said = [line.split("  ")[1] for line in followed.output.splitlines()]
    assert [line for line in said if line.startswith("step")] == [
        "step 1/3", "step 2/3", "step 2: checkpoint saved", "step 3/3", "step 3: validation loss 1.3",
    ]  # fmt: skip
    assert (said[0], said[-1]) == ("queued", "succeeded")
    assert ftsdk("logs", run.ref).output == followed.output


@pytest.mark.parametrize("command", [("logs", "--follow"), ("watch",)])
def test_a_failed_run_ends_with_the_status_of_a_failure(submit: Callable[[str], Run], command: tuple[str, ...]) -> None:
    run = submit("fails")
    ended = ftsdk(command[0], run.ref, *command[1:])
    # `main` turns the error into the exit status.
    code = code_of_error(ended.exception) if isinstance(ended.exception, FtsdkError) else ended.exit_code
    assert code == FAILED
    assert "the loss became NaN" in ended.output + str(ended.exception)


def test_a_cancelled_run_ends_with_the_status_of_a_cancellation(submit: Callable[[str], Run]) -> None:
    run = submit("never_ends")
    assert ftsdk("cancel", run.ref).exit_code == 0
    assert run.status().state == "cancelled"
    assert ftsdk("watch", run.ref).exit_code == CANCELLED
    assert ftsdk("logs", run.ref, "--follow").exit_code == CANCELLED


def test_resume_takes_up_a_stalled_run_and_says_when_there_is_nothing(submit: Callable[[str], Run]) -> None:
    ended = submit("succeeds")
    ended.wait(progress=False, sleep=lambda seconds: None)
    assert "there is nothing to resume" in ftsdk("resume", ended.ref).output
    stalled = submit("stalls")
    for _ in range(12):
        stalled.status()
    assert f"ftsdk watch {stalled.ref}" in " ".join(ftsdk("resume", stalled.ref).output.split())
    assert stalled.wait(progress=False, sleep=lambda seconds: None).status().state == "succeeded"


def test_weights_are_collected_and_runs_listed_as_json(submit: Callable[[str], Run], tmp_path: Path) -> None:
    run = submit("succeeds")
    run.wait(progress=False, sleep=lambda seconds: None)
    collected = ftsdk("collect", run.ref, str(tmp_path / "weights"))
    assert collected.exit_code == 0, collected.output
    assert (tmp_path / "weights" / "manifest.json").exists()
    (listed,) = json.loads(ftsdk("runs", "--json").output)
    assert (listed["ref"], listed["state"]) == (run.ref, "succeeded")
    assert "no orphans" in ftsdk("runs", "--orphans").output
    assert json.loads(ftsdk("runs", "--orphans", "--json").output) == []


def test_calibration_with_an_unknown_tuning_names_the_known(submit: Callable[[str], Run]) -> None:
    refused = ftsdk("calibrate", "acme/model", "--tuning", "lorra")
    assert refused.exit_code == 2
    assert "lora, qlora" in " ".join(refused.output.split())
