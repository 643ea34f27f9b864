"""Queries of a run on this machine: they answer from the run's folder and leave it as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.launchers.local import LocalLauncher
from ftsdk.backends.trainers.trl import TRLTrainer
from ftsdk.errors import BackendError
from ftsdk.protocol import RunRef, StateEvent

REF = RunRef(backend="local", id="a-run")
RUNNING = b'{"kind": "state", "seq": 0, "at": 5.0, "state": "running", "native": "attempt 1"}\n'
FAILED = b'{"kind": "state", "seq": 1, "at": 6.0, "state": "failed", "reason": "out of memory", "diagnosis": %s}\n'
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """A run's folder with these files, which no worker is working on."""
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path))

    def make(**files: bytes) -> Path:
        folder = tmp_path / "runs" / REF.id
        folder.mkdir(parents=True)
        names = {"request": "run.json", "events": "events.jsonl"}
        for name, content in {"request": b'{"launch": {}}', **files}.items():
            (folder / names.get(name, name)).write_bytes(content)
        return folder

    return make


def local() -> HostedBackend:
    return HostedBackend(name="local", launcher=LocalLauncher(), trainer=TRLTrainer())


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "log",
    [b"", RUNNING, RUNNING + b'{"kind": "st', RUNNING + FAILED % b"{}"],
    ids=["empty", "crashed", "torn", "failed"],
)
@pytest.mark.parametrize("cancel", [{}, {"cancel": b"7.5"}], ids=["", "cancelled"])
def test_queries_leave_the_run_folder_byte_for_byte_unchanged(
    make_run: MakeRun, log: bytes, cancel: dict[str, bytes]
) -> None:
    folder = make_run(events=log, **cancel)
    before = contents(folder)
    local().status(REF)
    list(local().events(REF))
    local().find(None, key=REF.id)  # pyright: ignore[reportArgumentType] - the plan isn't looked at
    assert contents(folder) == before


@pytest.mark.parametrize("record", [HostedBackend.cancel, HostedBackend.resume], ids=["cancel", "resume"])
def test_a_cancelled_run_without_a_worker_ends_once(make_run: MakeRun, record: Callable[..., object]) -> None:
    folder = make_run(events=RUNNING, cancel=b"7.5")
    assert local().status(REF).state == "cancelled"
    derived = list(local().events(REF))
    assert [(e.seq, e.at, e.state) for e in derived if isinstance(e, StateEvent)] == [
        (0, 5.0, "running"),
        (1, 7.5, "cancelled"),
    ]
    assert list(local().events(REF, after=0)) == derived[1:]
    assert list(local().events(REF, after=1)) == []
    record(local(), REF)
    assert (folder / "events.jsonl").read_bytes().count(b"\n") == 2
    assert list(local().events(REF)) == derived


def test_a_crashed_run_is_interrupted_until_it_is_resumed(make_run: MakeRun) -> None:
    make_run(events=RUNNING)
    status = local().status(REF)
    assert (status.state, status.native) == ("queued", "interrupted")


@pytest.mark.parametrize(
    "diagnosis",
    [b"{}", b'{"kind": "oom"}', b'{"kind": 3, "message": null, "step": "x", "suggestions": 7}', b"[]", b'"text"'],
)
def test_a_damaged_diagnosis_is_read_as_far_as_it_goes(make_run: MakeRun, diagnosis: bytes) -> None:
    make_run(events=RUNNING + FAILED % diagnosis)
    found = local().status(REF).diagnosis
    assert found is None or found.message == "out of memory"


@pytest.mark.parametrize("request_", [b'{"launch": {"dev', b"", b"[]", b"{}", b'{"launch": 3}', b"\xff"])
def test_a_run_whose_request_is_damaged_is_not_resumed(make_run: MakeRun, request_: bytes) -> None:
    make_run(request=request_, events=RUNNING)
    with pytest.raises(BackendError, match=r"run\.json is damaged"):
        local().resume(REF)


def test_a_run_that_dies_too_often_fails_with_a_diagnosis_when_resumed(make_run: MakeRun) -> None:
    log = b"".join(
        json.dumps({"kind": "state", "seq": n, "at": n, "state": "running", "native": f"attempt {n + 1}"}).encode()
        + b"\n"
        for n in range(5)
    )
    make_run(events=log)
    assert not local().resume(REF)
    status = local().status(REF)
    assert status.state == "failed"
    assert status.diagnosis is not None
    assert status.diagnosis.kind == "crash_loop"
