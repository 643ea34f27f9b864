"""A node's copy of a run: whatever a crash leaves in the store can be resumed from, and promises nothing in vain."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.hosted.checkpoints import newest_whole, seal_checkpoint
from ftsdk.backends.launchers.kept.jobs import JOBS
from ftsdk.backends.launchers.kept.mirror import Mirror, Superseded
from ftsdk.backends.launchers.kept.storage import StoredRun, kept_run
from ftsdk.errors import BackendError, RunNotFoundError
from ftsdk.protocol import CheckpointEvent, StateEvent, StepEvent
from ftsdk.runfolder.event_log import EVENTS, EventWriter, parse_events
from ftsdk.runfolder.manifest import seal, verify


class Crash(BaseException):
    """The node is gone."""


class FailingStore:
    """A store in which an operation is the node's last one, or fails."""

    def __init__(self, store: Any, *, last: int, error: BaseException | None = None) -> None:
        self._store, self._left, self._error = store, last, error

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("write", "upload", "remove"):
            return found

        def act(*args: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise self._error or Crash
            return found(*args)

        return act


def stored(folder: Path, *, last: int | None = None, error: BaseException | None = None) -> StoredRun:
    run = kept_run(folder.as_uri(), "run")
    assert isinstance(run, StoredRun)
    if last is not None:
        run.store = FailingStore(run.store, last=last, error=error)  # type: ignore[assignment]
    return run


def checkpoint(folder: Path, log: EventWriter, step: int) -> None:
    there = folder / "checkpoints" / f"checkpoint-{step}"
    (there / "deep").mkdir(parents=True)
    (there / "weight.json").write_text(json.dumps({"step": step}))
    (there / "deep" / "optimizer.bin").write_bytes(b"\0" * step)
    seal_checkpoint(there)
    log.append(CheckpointEvent(step=step, path=there.name))


def train(folder: Path, mirror: Mirror, *, steps: int = 6) -> None:
    """What a worker does, with a look of the mirror after each step."""
    with contextlib.closing(EventWriter(folder)) as log:
        start, _ = newest_whole(folder)
        first = 0 if start is None else int(start.name.rpartition("-")[2])
        log.append(StateEvent(state="running", native=f"attempt from {first}"))
        (folder / "worker.log").write_bytes(b"a line\n")
        for step in range(first + 1, steps + 1):
            log.append(StepEvent(step=step, total_steps=steps, loss=1.0))
            if step % 2 == 0:
                checkpoint(folder, log, step)
                for old in sorted((folder / "checkpoints").glob("*"), key=lambda p: int(p.name[11:]))[:-2]:
                    shutil.rmtree(old)
            mirror.sync()
        into = folder / "artifact"
        into.mkdir()
        (into / "adapter.bin").write_bytes(b"weights")
        seal(into, {"kind": "adapter", "base": "tiny"})
        log.append(StateEvent(state="succeeded"))
    shutil.rmtree(folder / "checkpoints")
    mirror.finish()


def holds_what_it_promises(run: StoredRun, into: Path) -> list[str]:
    events = parse_events(run.read(EVENTS) or b"")
    assert [event.seq for event in events] == list(range(len(events)))
    promised = [event.step for event in events if isinstance(event, CheckpointEvent)]
    ends = [event.state for event in events if isinstance(event, StateEvent) and event.state == "succeeded"]
    if ends:
        run.fetch("artifact", into / "artifact")
        verify(into / "artifact")
    elif promised:
        Mirror(run, into / "copy", job_id="ftsdk-run~9").fetch()
        found, refused = newest_whole(into / "copy")
        if (into / "copy" / "artifact" / "manifest.json").exists():
            verify(into / "copy" / "artifact")  # the next worker finds it, and reports the end
            return ends
        assert found is not None
        assert refused == []
        # A newer one may be there, and its event not yet.
        assert int(found.name.rpartition("-")[2]) >= promised[-1]
    return ends


@pytest.mark.parametrize("last", range(32))
def test_whatever_a_crash_leaves_is_whole_and_is_resumed(tmp_path: Path, last: int) -> None:
    store = tmp_path / "store"
    stored(store).write("run.json", b"{}")
    first = Mirror(stored(store, last=last), tmp_path / "first", job_id="ftsdk-run")
    first.fetch()
    with contextlib.suppress(Crash):
        train(first.folder, first)
    if not holds_what_it_promises(stored(store), tmp_path / "seen"):
        second = Mirror(stored(store), tmp_path / "second", job_id="ftsdk-run~2")
        second.fetch()
        if (second.folder / "artifact").exists():
            with contextlib.closing(EventWriter(second.folder)) as log:
                log.append(StateEvent(state="succeeded"))
            second.finish()
        else:
            train(second.folder, second)
    assert holds_what_it_promises(stored(store), tmp_path / "end") == ["succeeded"]
    # Checkpoints aren't kept for ever.
    assert [name for name in stored(store).store.sizes() if name.startswith("checkpoints/")] == []


def test_a_store_that_fails_for_a_while_loses_nothing(tmp_path: Path) -> None:
    store = tmp_path / "store"
    stored(store).write("run.json", b"{}")
    run = stored(store, last=0, error=BackendError("the storage doesn't answer", retryable=True))
    mirror = Mirror(run, tmp_path / "node", job_id="ftsdk-run", sleep=lambda _: setattr(run.store, "_left", 99))
    mirror.fetch()
    with pytest.raises(BackendError):
        train(mirror.folder, mirror)
    run.store._left = 0  # type: ignore[attr-defined]
    mirror.finish()
    assert parse_events(stored(store).read(EVENTS) or b"")[-1].kind == "step"


def test_a_job_that_was_followed_by_another_one_sends_nothing_more(tmp_path: Path) -> None:
    run = stored(tmp_path / "store")
    run.write("run.json", b"{}")
    run.write(JOBS, b'{"jobs": ["ftsdk-run"]}')
    mirror = Mirror(run, tmp_path / "node", job_id="ftsdk-run")
    mirror.fetch()
    log = EventWriter(mirror.folder)
    log.append(StateEvent(state="running"))
    mirror.sync()
    run.write(JOBS, b'{"jobs": ["ftsdk-run", "ftsdk-run~2"]}')
    log.append(StepEvent(step=1, total_steps=2, loss=1.0))
    log.close()
    with pytest.raises(Superseded, match="job ftsdk-run~2 works on the run now"):
        mirror.sync()
    with pytest.raises(Superseded):
        mirror.fetch()
    assert len(parse_events(run.read(EVENTS) or b"")) == 1


def test_what_a_client_asks_reaches_the_node(tmp_path: Path) -> None:
    run = stored(tmp_path / "store")
    run.write("run.json", b"{}")
    mirror = Mirror(run, tmp_path / "node", job_id="ftsdk-run")
    mirror.fetch()
    mirror.sync()
    assert not (mirror.folder / "cancel").exists()
    run.write("cancel", b"12.5")
    mirror.sync()
    assert (mirror.folder / "cancel").read_bytes() == b"12.5"


def test_an_end_that_a_client_records_is_what_everybody_reads(tmp_path: Path) -> None:
    run = stored(tmp_path / "store")
    run.write(EVENTS, b'{"kind":"state","state":"running","seq":0,"at":1.0}\n')
    assert run.record_end(StateEvent(state="cancelled"))
    # A dying worker's last copy doesn't undo it.
    run.store.write(
        EVENTS, b'{"kind":"state","state":"running","seq":0,"at":1.0}\n{"kind":"log","message":"late","seq":1}\n'
    )
    assert run.record_end(StateEvent(state="failed"))
    events = parse_events(run.read(EVENTS) or b"")
    assert [event.seq for event in events] == [0, 1]
    assert isinstance(events[-1], StateEvent)
    assert events[-1].state == "cancelled"


@pytest.mark.parametrize("storage", ["folder", "store"])
def test_a_run_has_a_name_that_stays_in_its_storage(tmp_path: Path, storage: str) -> None:
    where = str(tmp_path) if storage == "folder" else tmp_path.as_uri()
    for name in ("../x", "a/b", "", ".hidden"):
        with pytest.raises(RunNotFoundError):
            kept_run(where, name)
