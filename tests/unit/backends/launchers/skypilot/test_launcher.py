"""Managed jobs: found by name whatever was lost, refused with what to do, cancelled for good, and none left over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from skypilot_stand_in import SkyPilotStandIn

from ftsdk.backends.hosted.worker import REQUEST
from ftsdk.backends.launchers.kept.jobs import JOBS
from ftsdk.backends.launchers.skypilot.api import Api, LostAnswer, StillWorking
from ftsdk.backends.launchers.skypilot.entry import is_claimed_by_another
from ftsdk.backends.launchers.skypilot.jobs import Job
from ftsdk.backends.launchers.skypilot.launcher import SkyPilotLauncher
from ftsdk.backends.launchers.skypilot.options import Options
from ftsdk.backends.launchers.skypilot.orphans import orphans
from ftsdk.errors import BackendError, CredentialsError
from ftsdk.protocol import StateEvent

TASK: dict[str, Any] = {"resources": {}, "num_nodes": 1, "envs": {}, "setup": "true"}


def launch(storage: Path, **changes: Any) -> dict[str, Any]:
    return {"python": str(storage / "python"), "storage": str(storage), "task": TASK, "secrets": [], **changes}


@pytest.fixture
def launcher(skypilot_stand_in: SkyPilotStandIn, tmp_path: Path) -> SkyPilotLauncher:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o700)
    made = SkyPilotLauncher(Options(server=skypilot_stand_in.address, storage=str(tmp_path), gpus=0, look_s=0))
    made.files("r").write(REQUEST, b"{}")
    return made


def test_a_job_is_handed_in_once(
    launcher: SkyPilotLauncher, skypilot_stand_in: SkyPilotStandIn, tmp_path: Path
) -> None:
    assert not launcher.is_running("r")
    assert launcher.start("r", launch(tmp_path))
    assert not launcher.start("r", launch(tmp_path))
    assert launcher.is_running("r")
    assert launcher.native("r")["job_id"] == "1"
    assert len(skypilot_stand_in.jobs) == 1


def test_a_lost_answer_is_looked_up(
    launcher: SkyPilotLauncher, skypilot_stand_in: SkyPilotStandIn, tmp_path: Path
) -> None:
    with skypilot_stand_in.losing_answers(), pytest.raises(BackendError) as caught:
        launcher.start("r", launch(tmp_path))
    assert caught.value.retryable
    assert not launcher.start("r", launch(tmp_path))
    assert len(skypilot_stand_in.jobs) == 1


def test_a_job_that_is_still_on_its_way_is_seen_and_can_be_cancelled(
    launcher: SkyPilotLauncher, skypilot_stand_in: SkyPilotStandIn, tmp_path: Path
) -> None:
    launcher = SkyPilotLauncher(launcher._options, launch_s=0.2)
    skypilot_stand_in.is_slow = True
    assert launcher.start("r", launch(tmp_path))
    assert (skypilot_stand_in.jobs, launcher.is_running("r")) == ([], True)
    waiting = launcher.queued("r")
    assert waiting is not None
    assert waiting.native == "SUBMITTING"
    assert not launcher.start("r", launch(tmp_path))
    assert len(skypilot_stand_in.active) == 1
    launcher.stop("r")
    assert (skypilot_stand_in.active, launcher.is_running("r")) == ([], False)


def test_stop_returns_when_the_machine_is_gone(
    launcher: SkyPilotLauncher, skypilot_stand_in: SkyPilotStandIn, tmp_path: Path
) -> None:
    launcher.start("r", launch(tmp_path))
    launcher.stop("r")
    job = skypilot_stand_in.jobs[0]
    assert job.status == "CANCELLED"
    assert job.process is None or job.process.poll() is not None
    launcher.stop("r")


def test_a_job_that_is_cancelled_in_vain_is_said_so(
    skypilot_stand_in: SkyPilotStandIn, launcher: SkyPilotLauncher, tmp_path: Path
) -> None:
    launcher.start("r", launch(tmp_path))
    now = iter(range(0, 10_000, 400))
    hasty = SkyPilotLauncher(launcher._options, clock=lambda: float(next(now)), sleep=lambda _: None)
    skypilot_stand_in.ignores_cancel = True
    with pytest.raises(BackendError, match="sky jobs cancel -n ftsdk-r") as caught:
        hasty.stop("r")
    assert caught.value.retryable


def test_a_machine_that_cannot_be_had_is_refused_with_what_to_do(
    launcher: SkyPilotLauncher, skypilot_stand_in: SkyPilotStandIn, tmp_path: Path
) -> None:
    skypilot_stand_in.no_resource = "no H100 in any zone"
    launcher.start("r", launch(tmp_path))
    for job in skypilot_stand_in.jobs:
        assert job.thread is not None
        job.thread.join(5)
    assert not launcher.is_running("r")
    with pytest.raises(BackendError, match="no machine like that can be had now") as caught:
        launcher.start("r", launch(tmp_path))
    assert "no H100 in any zone" in str(caught.value)
    assert len(skypilot_stand_in.jobs) == 1


def test_a_request_that_skypilot_refuses_is_told_and_what_it_left_in_the_queue_is_cancelled(
    launcher: SkyPilotLauncher, skypilot_stand_in: SkyPilotStandIn, tmp_path: Path
) -> None:
    skypilot_stand_in.no_resource = "!the task has an unknown key"
    with pytest.raises(BackendError, match=r"SkyPilot says ValueError: the task has an unknown key$"):
        launcher.start("r", launch(tmp_path))
    assert [job.status for job in skypilot_stand_in.jobs] == ["CANCELLED"]
    assert not launcher.is_running("r")


def test_a_controller_that_was_never_there_has_no_jobs_but_one_that_stopped_is_asked_again(
    launcher: SkyPilotLauncher, skypilot_stand_in: SkyPilotStandIn, tmp_path: Path
) -> None:
    skypilot_stand_in.has_no_controller = True
    assert launcher.start("r", launch(tmp_path))
    # Its job is alive, which only a refreshed queue shows.
    assert not launcher.start("r", launch(tmp_path))
    assert len(skypilot_stand_in.jobs) == 1
    assert [body["refresh"] for path, body in skypilot_stand_in.bodies if path == "/jobs/queue/v2"] == [False, True]


def test_secrets_are_in_the_task_alone(
    launcher: SkyPilotLauncher, skypilot_stand_in: SkyPilotStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CredentialsError, match="BUCKET_KEY"):
        launcher.start("r", launch(tmp_path, secrets=["BUCKET_KEY"]))
    monkeypatch.setenv("BUCKET_KEY", "planted")
    launcher.start("r", launch(tmp_path, secrets=["BUCKET_KEY"]))
    assert skypilot_stand_in.jobs[0].task["secrets"] == {"BUCKET_KEY": "planted"}
    assert not [p for p in (tmp_path / "runs").rglob("*") if p.is_file() and b"planted" in p.read_bytes()]


def test_a_second_job_of_one_number_leaves_and_a_later_one_takes_over(launcher: SkyPilotLauncher) -> None:
    run = launcher.files("r")

    def claims(job: str, task: str) -> bool:
        return is_claimed_by_another(run, job, task, sleep=lambda _: None)

    assert not claims("ftsdk-r", "sky-1")
    assert claims("ftsdk-r", "sky-2")
    assert not claims("ftsdk-r", "sky-1")  # after a preemption
    assert not claims("ftsdk-r~2", "sky-3")
    # Two at the same time: the one that wrote last has it.
    assert is_claimed_by_another(
        run, "ftsdk-r~3", "sky-4", sleep=lambda _: run.write("claim.json", b'{"job": "ftsdk-r~3", "task": "sky-5"}')
    )


def test_an_end_is_recorded_only_where_no_job_is_alive(launcher: SkyPilotLauncher, tmp_path: Path) -> None:
    launcher.start("r", launch(tmp_path))
    assert not launcher.record_end("r", StateEvent(state="failed", reason="x"))
    launcher.stop("r")
    assert launcher.record_end("r", StateEvent(state="failed", reason="x"))
    assert json.loads(launcher.files("r").read(JOBS) or b"") == {"jobs": ["ftsdk-r"]}


@pytest.mark.parametrize(
    ("status", "kind", "is_retryable"),
    [
        (401, CredentialsError, False),
        (302, CredentialsError, False),
        (404, BackendError, False),
        (503, BackendError, True),
        (429, BackendError, True),
        (500, BackendError, True),
        (200, BackendError, True),
    ],
)
def test_what_a_server_says_becomes_our_errors(
    skypilot_stand_in: SkyPilotStandIn, status: int, kind: type[Exception], is_retryable: bool
) -> None:
    skypilot_stand_in.answer = (status, b"<html>", {"Retry-After": "7", "Location": "/login"})
    api = Api(skypilot_stand_in.address)
    with pytest.raises(kind) as caught:
        api.get("/api/health")
    assert getattr(caught.value, "retryable", False) is is_retryable
    if status in (429, 503):
        assert getattr(caught.value, "retry_after_s", None) == 7.0


def test_a_server_that_is_not_there_may_have_got_the_request() -> None:
    with pytest.raises(LostAnswer, match="sky api start"):
        Api("http://127.0.0.1:1").post("/jobs/launch", {})


def test_a_result_that_takes_long_is_waited_for_elsewhere(skypilot_stand_in: SkyPilotStandIn) -> None:
    skypilot_stand_in.is_slow = True
    api = Api(skypilot_stand_in.address)
    request = api.post("/jobs/launch", {"name": "ftsdk-x", "task": "{}"})
    with pytest.raises(StillWorking):
        api.result(request, wait_s=0.2)
    skypilot_stand_in.active.clear()


def test_doctor_is_told_the_version_and_the_clouds(launcher: SkyPilotLauncher) -> None:
    assert launcher.answer(timeout_s=5) == "SkyPilot 0.14.1: clouds that it may use: lambda, runpod"


def test_orphans_are_jobs_machines_and_runs() -> None:
    jobs = [
        Job("ftsdk-a", "RUNNING", 1),
        Job("ftsdk-gone", "RUNNING", 2),
        Job("ftsdk-done", "CANCELLING", 3),
        Job("ftsdk-late", "SUBMITTING", None, request_id="abc"),
        Job("ftsdk-over", "FAILED_CONTROLLER", 4),
    ]
    found = orphans(jobs, ["ftsdk-a-1", "ftsdk-over-4"], {"a": "running", "done": "failed", "lost": "running"})
    told = {(o.kind, o.name): o.advice for o in found}
    assert set(told) == {
        ("app", "ftsdk-gone"),
        ("app", "ftsdk-done"),
        ("app", "ftsdk-late"),
        ("app", "ftsdk-over-4"),
        ("run", "ftsdk-lost"),
    }
    assert told["app", "ftsdk-gone"].endswith("sky jobs cancel 2")
    assert told["app", "ftsdk-late"].endswith("sky api cancel abc")
    assert told["app", "ftsdk-over-4"].endswith("sky down ftsdk-over-4")
