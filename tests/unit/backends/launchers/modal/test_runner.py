"""One attempt in a container, without Modal: what it does, and what it leaves to another attempt."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.backends.hosted.followers import FirstHostMissing, follow
from ftsdk.backends.hosted.ranks import Cluster
from ftsdk.backends.launchers.modal.apps import AppInfo
from ftsdk.backends.launchers.modal.attempts import (
    Attempt,
    Ending,
    allowance,
    attempts_from_json,
    attempts_to_json,
    spent_s,
)
from ftsdk.backends.launchers.modal.limits import GRACE_S, STARTUP_S, worst_case_usd
from ftsdk.backends.launchers.modal.orphans import orphans
from ftsdk.backends.launchers.modal.record import LaunchRecord, app_name
from ftsdk.backends.launchers.modal.runner import run, work
from ftsdk.backends.launchers.recorded_end import recorded_end, with_recorded_end
from ftsdk.protocol import LogEvent, StateEvent
from ftsdk.runfolder.event_log import parse_events

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="containers are Linux")
RECORD = LaunchRecord(app="ftsdk-r", token="t0", client="c", at=1.0, app_id="ap-1", call_id="fc-1")
LIMITS: dict[str, Any] = {
    "timeout_s": 600,
    "max_attempts": 2,
    "total_s": 2 * (STARTUP_S + 600 + GRACE_S) + STARTUP_S,
    "budget_usd": None,
}
ORDER: dict[str, Any] = {"run": "r", "token": "t0", "volume": "v", **LIMITS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that can't be trained: no such trainer. The worker says so without loading torch."""
    made = tmp_path / "runs" / "r"
    made.mkdir(parents=True)
    (made / "run.json").write_text(
        json.dumps({"trainer": "no-such-trainer", "training": {}, "launch": {"processes": 1}, "spec": {}})
    )
    (made / "launch.json").write_bytes(RECORD.to_json())
    return made


class Commits:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def states(folder: Path) -> list[StateEvent]:
    return [e for e in parse_events((folder / "events.jsonl").read_bytes()) if isinstance(e, StateEvent)]


def ended(*endings: Ending, each_s: float = 600.0) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(call_id="fc-1", task_id=f"ta-{n}", started_at=0.0, last_at=each_s, ending=e)
        for n, e in enumerate(endings)
    )


def test_a_failure_that_would_come_again_is_returned_and_not_raised(folder: Path) -> None:
    commits = Commits()
    assert work(ORDER, folder, commit=commits) == {"outcome": "failed", "attempts": 1}
    assert states(folder)[-1].state == "failed"
    assert attempts_from_json((folder / "attempts.json").read_bytes())[0].ending == "over"
    assert commits.count >= 2


def test_a_killed_worker_is_retried_by_raising_a_builtin_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _break_the_worker(folder, monkeypatch)
    with pytest.raises(RuntimeError, match="exited without reporting"):
        work(ORDER, folder, commit=Commits())
    (logged,) = [e for e in parse_events((folder / "events.jsonl").read_bytes()) if isinstance(e, LogEvent)]
    assert "last words" in logged.message
    # It was the first of two; the second is the last, and says so itself.
    assert work(ORDER, folder, commit=Commits()) == {"outcome": "failed", "attempts": 2}
    last = states(folder)[-1]
    assert last.state == "failed"
    assert (last.diagnosis or {})["kind"] == "attempts"


def test_a_worker_whose_time_is_up_is_ended_and_its_attempt_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(_fake_worker(folder, "import time; time.sleep(60)")))
    with pytest.raises(RuntimeError, match="out of time"):
        work({**ORDER, "timeout_s": 1}, folder, commit=Commits())
    assert attempts_from_json((folder / "attempts.json").read_bytes())[0].ending == "timeout"


@pytest.mark.parametrize(
    ("name", "content", "outcome"),
    [("launch.json", b"{}", "superseded"), ("conclusion.json", b"{}", "ended")],
)
def test_a_container_that_comes_too_late_does_nothing(folder: Path, name: str, content: bytes, outcome: str) -> None:
    (folder / name).write_bytes(content)
    commits = Commits()
    assert work(ORDER, folder, commit=commits) == {"outcome": outcome}
    assert not (folder / "attempts.json").exists()
    assert commits.count == 0


def test_a_run_preempted_until_its_budget_is_spent_fails_with_the_reason(folder: Path) -> None:
    (folder / "attempts.json").write_bytes(attempts_to_json(ended("preempted", "preempted", "preempted")))
    assert work({**ORDER, "budget_usd": "5"}, folder, commit=Commits())["outcome"] == "failed"
    (last,) = states(folder)
    assert (last.diagnosis or {})["kind"] == "budget"
    assert "budget_usd=5" in last.reason


def test_what_the_runner_cannot_explain_is_returned_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r").write_text("a file in the folder's place")
    monkeypatch.setenv("FTSDK_RUNS", str(tmp_path))
    answer = json.loads(run(json.dumps(ORDER)))
    assert answer["outcome"] == "error"
    assert "NotADirectoryError" in answer["message"]


@given(
    endings=st.lists(st.tuples(st.sampled_from(["preempted", "died", "timeout", ""]), st.floats(0, 600)), max_size=30)
)
def test_whatever_happens_no_more_is_spent_than_the_worst_case(endings: list[tuple[Ending, float]]) -> None:
    attempts: tuple[Attempt, ...] = ()
    for ending, seconds in endings:
        allowed = allowance(attempts, LIMITS)
        if allowed.refusal:
            break
        attempts = (*attempts, *ended(ending, each_s=min(seconds, allowed.seconds)))
    # One more container may start and be sent home.
    assert spent_s(attempts) + STARTUP_S <= LIMITS["total_s"] + 1e-6
    assert worst_case_usd(LIMITS["timeout_s"], LIMITS["max_attempts"], 1) == LIMITS["total_s"]  # type: ignore[arg-type]


def test_preemptions_use_up_no_attempt_and_deaths_do() -> None:
    assert allowance(ended("preempted", "preempted", each_s=10), LIMITS).refusal == ""
    assert allowance(ended("died", "timeout", each_s=10), LIMITS).refusal == "attempts"


CLUSTER = Cluster(nodes=2, rank=1, address="10.0.0.7")


def test_the_second_host_waits_for_the_first_and_runs_its_share(folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps({"launch": {"processes": 16}}))
    # What the first host of the attempt before had decided is still there.
    (folder / "attempt.json").write_text(json.dumps({"meeting": "10.0.0.3"}))
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            (folder / "attempt.json").write_text(json.dumps({"meeting": "10.0.0.7"}))

    ran: list[dict[str, Any]] = []
    outcome = follow(
        folder, CLUSTER, reload=lambda: None, run_ranks=lambda _folder, **given: ran.append(given) or 0, sleep=sleep
    )
    assert outcome == {"outcome": "followed", "status": 0}
    assert ran == [{"processes": 16, "cluster": CLUSTER}]
    assert len(looks) == 3


def test_the_second_host_gives_up_on_a_first_that_never_comes(folder: Path) -> None:
    now = iter(range(0, 10_000, 100))
    with pytest.raises(FirstHostMissing, match="waited 600 s"):
        follow(
            folder,
            CLUSTER,
            reload=lambda: None,
            run_ranks=lambda *_a, **_k: 0,
            clock=lambda: float(next(now)),
            sleep=lambda _s: None,
        )


def test_orphans_are_apps_without_a_run_and_runs_without_an_app() -> None:
    apps = [
        AppInfo(app_id=f"ap-{n}", name=name)
        for n, name in enumerate(["ftsdk-known", "ftsdk-over", "ftsdk-stranger", "somebody-elses"])
    ]
    found = orphans(apps, {"known": "running", "over": "cancelled", "lost": "running", "done": "succeeded"})
    assert [(o.kind, o.run_id, o.native) for o in found] == [
        ("app", "over", "ap-1"),
        ("app", "", "ap-2"),
        ("run", "lost", ""),
    ]
    assert "modal app stop ap-2" in found[1].advice
    assert "ftsdk watch modal:lost" in found[2].advice


LOG = b'{"kind": "state", "seq": 0, "at": 5.0, "state": "running"}\n{"kind": "step", "seq": 1, "at": 9.0, "step": 1}\n'


def test_an_end_recorded_by_the_client_outlasts_later_log_lines() -> None:
    recorded = recorded_end(LOG + b'{"kind": "st', StateEvent(state="cancelled"), at=7.0)
    read = parse_events(with_recorded_end(LOG + b'{"kind": "step", "seq": 2, "at": 10.0, "step": 2}\n', recorded))
    assert [e.kind for e in read] == ["state", "step", "state"]
    assert [e.seq for e in read] == [0, 1, 2]
    assert read[-1].at == 9.0, "never before the last event, whatever the clocks say"


def test_a_run_that_has_an_end_gets_no_other() -> None:
    ended = LOG + b'{"kind": "state", "seq": 2, "at": 9.5, "state": "succeeded"}\n'
    assert recorded_end(ended, StateEvent(state="cancelled"), at=10.0) is None


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reading_of_a_record_or_a_conclusion(content: bytes) -> None:
    assert LaunchRecord.from_json(content) is None
    assert with_recorded_end(LOG, content) == LOG
    assert attempts_from_json(content) == ()


def test_a_record_reads_back_equal() -> None:
    assert LaunchRecord.from_json(RECORD.to_json()) == RECORD


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", fullmatch=True),
)
def test_every_key_has_an_app_name_of_its_own_that_modal_takes(one: str, other: str) -> None:
    assert len(app_name(one)) <= 64
    assert (app_name(one) == app_name(other)) == (one == other)


def _fake_worker(folder: Path, code: str) -> Path:
    """A package that takes the worker's place in the child process."""
    root = folder.parent / "other"
    package = root / "ftsdk" / "backends" / "hosted"
    package.mkdir(parents=True)
    for part in (root / "ftsdk", root / "ftsdk" / "backends", package):
        (part / "__init__.py").write_text("")
    (package / "worker.py").write_text(code)
    return root


def _break_the_worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, signal; print('last words', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setenv("PYTHONPATH", str(_fake_worker(folder, code)))
