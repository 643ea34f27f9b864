"""The run's files: event log, manifest, lock, checkpoints."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.backends.hosted.checkpoints import newest_whole, prune, seal_checkpoint
from ftsdk.backends.hosted.log_lines import lines_as_events
from ftsdk.backends.hosted.progress import Progress
from ftsdk.backends.hosted.ranks import Cluster, agent_command
from ftsdk.errors import CorruptArtifactError
from ftsdk.protocol import LogEvent, StateEvent, StepEvent, read_event
from ftsdk.protocol.meter import Meter
from ftsdk.runfolder import lock
from ftsdk.runfolder.event_log import EventWriter, parse_events
from ftsdk.runfolder.manifest import seal, verify


def test_events_come_back_in_order_and_numbered(tmp_path: Path) -> None:
    log = EventWriter(tmp_path, clock=lambda: 1.0)
    log.append(StateEvent(state="running"))
    log.append(StepEvent(step=1, loss=2.5))
    log.close()
    events = parse_events((tmp_path / "events.jsonl").read_bytes())
    assert [(e.seq, e.kind) for e in events] == [(0, "state"), (1, "step")]


def test_half_a_last_line_is_not_read_and_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    log = EventWriter(tmp_path)
    log.append(LogEvent(message="one"))
    log.close()
    path = tmp_path / "events.jsonl"
    with path.open("ab") as file:
        file.write(b'{"kind": "log", "se')
    assert len(parse_events(path.read_bytes())) == 1
    again = EventWriter(tmp_path)
    again.append(LogEvent(message="two"))
    again.close()
    assert [e.message for e in parse_events(path.read_bytes()) if isinstance(e, LogEvent)] == ["one", "two"]


@given(st.text())
def test_a_line_that_nobody_understands_becomes_a_log_event(text: str) -> None:
    event = read_event(text, seq=3)
    assert isinstance(event, LogEvent)
    assert event.seq == 3


def test_a_kind_that_nobody_has_heard_of_becomes_a_log_event() -> None:
    event = read_event('{"kind": "confetti", "seq": 4, "at": 1}', seq=4)
    assert isinstance(event, LogEvent)
    assert "confetti" in event.message


def test_steps_that_are_made_again_after_a_crash_are_logged_once(tmp_path: Path) -> None:
    first = EventWriter(tmp_path)
    for step in (1, 2, 3):
        Progress(first, Meter(terms=None))(StepEvent(step=step))
    first.close()
    second = EventWriter(tmp_path)
    progress = Progress(second, Meter(terms=None))
    for step in (2, 3, 4):
        progress(StepEvent(step=step))
    second.close()
    assert [e.step for e in parse_events((tmp_path / "events.jsonl").read_bytes()) if isinstance(e, StepEvent)] == [
        1,
        2,
        3,
        4,
    ]


def sealed(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"a" * 100)
    (folder / "deep" / "b.bin").write_bytes(b"b" * 50)
    seal(folder, {"kind": "adapter"})
    return folder


def test_a_sealed_folder_verifies_and_keeps_its_facts(tmp_path: Path) -> None:
    manifest = verify(sealed(tmp_path / "x"))
    assert manifest["kind"] == "adapter"
    assert set(manifest["files"]) == {"a.bin", "deep/b.bin"}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: (f / "manifest.json").unlink(), "incomplete"),
        (lambda f: (f / "manifest.json").write_text("{"), "can't be read"),
        (lambda f: (f / "a.bin").unlink(), "missing"),
        (lambda f: os.truncate(f / "a.bin", 50), "truncated"),
        (lambda f: (f / "a.bin").write_bytes(b"x" * 100), "altered"),
        (lambda f: (f / "c.bin").write_bytes(b"c"), "isn't listed in the manifest"),
        (
            lambda f: (f / "manifest.json").write_text('{"files": {"../a": {}, "a.bin": {}, "deep/b.bin": {}}}'),
            "outside the folder",
        ),
    ],
)
def test_a_folder_that_was_harmed_is_refused(tmp_path: Path, harm, said: str) -> None:
    folder = sealed(tmp_path / "x")
    harm(folder)
    with pytest.raises(CorruptArtifactError, match=said):
        verify(folder)


def checkpoint(run: Path, step: int) -> Path:
    folder = run / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(os.urandom(64))
    seal_checkpoint(folder)
    return folder


def test_the_newest_whole_checkpoint_is_found_and_torn_ones_are_thrown_out(tmp_path: Path) -> None:
    checkpoint(tmp_path, 5)
    good = checkpoint(tmp_path, 10)
    os.truncate(checkpoint(tmp_path, 15) / "weights", 10)
    (tmp_path / "checkpoints" / "checkpoint-20").mkdir()
    found, refused = newest_whole(tmp_path)
    assert found == good
    assert len(refused) == 2
    assert not (tmp_path / "checkpoints" / "checkpoint-15").exists()


def test_old_checkpoints_go_and_the_best_stays(tmp_path: Path) -> None:
    folders = {step: checkpoint(tmp_path, step) for step in (2, 4, 6, 8, 10)}
    prune(tmp_path, keep={folders[4]})
    assert {step for step, folder in folders.items() if folder.exists()} == {4, 8, 10}


def _hold_and_wait(folder: Path, ready, leave) -> None:
    with lock.hold(folder) as held:
        assert held
        ready.set()
        leave.wait(30)


def test_a_lock_is_held_by_one_and_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    holder = context.Process(target=_hold_and_wait, args=(tmp_path, ready, leave))
    holder.start()
    assert ready.wait(30)
    assert lock.is_held(tmp_path)
    assert lock.acquire(tmp_path, patience_s=0.05) is None
    found = lock.holder_of(tmp_path)
    assert found is not None
    assert found[0] == holder.pid
    holder.kill()
    holder.join()
    deadline = time.monotonic() + 5
    while lock.is_held(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert lock.holder_of(tmp_path) is None


def test_what_is_new_in_the_log_becomes_events_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    path.write_bytes(b"of an earlier attempt\n")
    log = EventWriter(tmp_path)
    with lines_as_events(tmp_path, log, is_on=True, poll_s=0.01):
        log.append(StateEvent(state="running"))
        with path.open("ab") as file:
            file.write(b" 0%|\r50%|\r100%| loaded\n\nhalf a li")
        _until(lambda: b"loaded" in (tmp_path / "events.jsonl").read_bytes())
        with path.open("ab") as file:
            file.write(b"ne\nnot ended")
    log.close()
    events = parse_events((tmp_path / "events.jsonl").read_bytes())
    assert [e.message for e in events if isinstance(e, LogEvent)] == ["100%| loaded", "half a line"]
    assert [e.seq for e in events] == [0, 1, 2]


def test_a_flood_of_lines_does_not_bury_the_history(tmp_path: Path) -> None:
    log = EventWriter(tmp_path)
    with lines_as_events(tmp_path, log, is_on=True):
        (tmp_path / "worker.log").write_bytes(b"a warning\n" * 10_000)
    log.close()
    events = parse_events((tmp_path / "events.jsonl").read_bytes())
    assert len(events) == 501
    assert isinstance(events[-1], LogEvent)
    assert "see worker.log" in events[-1].message


def test_on_this_machine_the_log_stays_a_file(tmp_path: Path) -> None:
    log = EventWriter(tmp_path)
    with lines_as_events(tmp_path, log, is_on=False):
        (tmp_path / "worker.log").write_bytes(b"a line\n")
    log.close()
    assert (tmp_path / "events.jsonl").read_bytes() == b""


def test_one_host_meets_nobody_and_several_meet_at_the_first(tmp_path: Path) -> None:
    alone = agent_command(tmp_path, processes=8, cluster=Cluster())
    assert "--standalone" in alone
    assert alone[alone.index("--nproc-per-node") + 1] == "8"
    second = agent_command(tmp_path, processes=16, cluster=Cluster(nodes=2, rank=1, address="10.0.0.7"))
    assert "--standalone" not in second
    told = {
        name: second[second.index(name) + 1]
        for name in ("--nnodes", "--node-rank", "--master-addr", "--nproc-per-node")
    }
    assert told == {"--nnodes": "2", "--node-rank": "1", "--master-addr": "10.0.0.7", "--nproc-per-node": "8"}


def test_the_hosts_of_a_cluster_are_told_by_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Cluster.of_environment() == Cluster()
    cluster = Cluster(nodes=4, rank=3, address="fdaa::1")
    monkeypatch.setenv("FTSDK_CLUSTER", cluster.to_json())
    assert Cluster.of_environment() == cluster


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
