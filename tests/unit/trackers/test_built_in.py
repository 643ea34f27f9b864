"""What each built-in tracker holds afterwards, read through its own API, equals the run's events."""

# The trackers' libraries are in an environment of their own: nox -s trackers.
# pyright: reportMissingImports=false
from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftsdk import MLflow, SpecError, TensorBoard, Trackio, Wandb
from ftsdk.protocol import EvalEvent, Event, LogEvent, StateEvent, StepEvent
from ftsdk.trackers import TrackedRun
from ftsdk.trackers.readings import readings_of

# The libraries' own warnings: they are tested with warnings as errors, which they aren't themselves.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.enable_socket]
SPEC = {"name": "mails", "tuning": {"kind": "lora", "rank": 4}, "epochs": 2}


def history(run_id: str) -> tuple[TrackedRun, list[Event]]:
    events: list[Event] = [StateEvent(state="running", reason="attempt 1")]
    for step in range(1, 7):
        events.append(StepEvent(step=step, loss=1 / step, learning_rate=1e-4 * step, tokens=100 * step))
        if step % 3 == 0:
            events.append(EvalEvent(step=step, metrics={"loss": 2 / step, "reward_margin": float(step)}))
    events += [LogEvent(level="warning", message="a warning"), StateEvent(state="succeeded")]
    dated = [event.replace(seq=n, at=1_790_000_000.0 + n) for n, event in enumerate(events)]
    return TrackedRun(id=run_id, spec=SPEC, training={}), dated


def expected(events: list[Event]) -> dict[tuple[str, int], float]:
    found = [one for one in map(readings_of, events) if one is not None]
    return {(name, one.step): value for one in found for name, value in one.values.items()}


def send(tracker: Any, run: TrackedRun, events: list[Event]) -> None:
    tracker.start(run)
    for event in events:
        tracker.log(event)
    tracker.end()


def replayed(run: TrackedRun) -> TrackedRun:
    return TrackedRun(id=run.id, spec=run.spec, training={}, is_replay=True)


def test_tensorboard_holds_the_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' isn't installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, events = history("20261128-aaaaaa")

    def held() -> dict[tuple[str, int], float]:
        read = EventAccumulator(str(tmp_path / run.id), size_guidance={"scalars": 0, "tensors": 0}).Reload()
        rows = [(tag, one.step, one.value) for tag in read.Tags()["scalars"] for one in read.Scalars(tag)]
        assert len({row[:2] for row in rows}) == len(rows)
        assert {one.wall_time for one in read.Scalars("train/loss")} == {
            event.at for event in events if isinstance(event, StepEvent)
        }
        texts = [one.tensor_proto.string_val[0].decode() for one in read.Tensors("state")]
        assert texts == ["running attempt 1", "succeeded"]
        assert json.loads(read.Tensors("spec")[0].tensor_proto.string_val[0]) == SPEC
        return {row[:2]: row[2] for row in rows}

    send(TensorBoard(folder=tmp_path), run, events[:6])  # a worker that was killed
    send(TensorBoard(folder=tmp_path), run, events[6:])
    assert held() == pytest.approx(expected(events))
    for _ in range(2):
        send(TensorBoard(folder=tmp_path), replayed(run), events)
        assert held() == pytest.approx(expected(events))


def test_mlflow_holds_the_events_once(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra 'mlflow' isn't installed")
    from mlflow.tracking import MlflowClient

    run, events = history("20261128-bbbbbb")
    tracker = MLflow(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", experiment="mails")
    send(tracker, run, events[:6])
    send(MLflow(**tracker.options), run, events[6:])
    send(MLflow(**tracker.options), replayed(run), events)
    client: Any = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("mails").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.info.end_time == int(events[-1].at * 1000)
    assert found.data.tags["ftsdk"] == run.id
    assert found.data.params["tuning.rank"] == "4"
    rows = [
        (name, one.step, one.value)
        for name in found.data.metrics
        for one in client.get_metric_history(found.info.run_id, name)
    ]
    assert len({row[:2] for row in rows}) == len(rows)
    assert {row[:2]: row[2] for row in rows} == pytest.approx(expected(events))


def leveldb_records(content: bytes, *, first_block: int) -> Iterator[bytes]:
    """The records of a LevelDB log, which W&B's files are behind their first seven bytes: its own reader is in Go."""
    start, left, parts = 0, first_block, b""
    while start < len(content):
        if left < 7:
            start, left = start + left, 32768
            continue
        size, kind = struct.unpack("<HB", content[start + 4 : start + 7])
        parts += content[start + 7 : start + 7 + size]
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""
        start, left = start + 7 + size, left - 7 - size


def test_wandb_offline_files_hold_the_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra 'wandb' isn't installed")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    run, events = history("20261128-cccccc")
    send(Wandb(project="mails", folder=tmp_path), run, events)  # no account: offline by itself
    (file,) = tmp_path.glob(f"wandb/offline-run-*-{run.id}/run-{run.id}.wandb")
    held: dict[tuple[str, int], float] = {}
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for data in leveldb_records(file.read_bytes()[7:], first_block=32768 - 7):
        record: Any = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            step = int(row.pop("_step", record.history.step.num))
            held |= {(name, step): value for name, value in row.items() if "/" in name}
        elif record.WhichOneof("record_type") == "run":
            config |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.run.config.update}
        elif record.WhichOneof("record_type") == "summary":
            summary |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.summary.update}
    assert held == pytest.approx(expected(events))
    assert config["tuning"] == SPEC["tuning"]
    assert summary["state"] == "succeeded"


def test_trackio_holds_the_events_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio", reason="the extra 'trackio' isn't installed")
    from trackio import sqlite_storage

    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", tmp_path)
    run, events = history("20261128-dddddd")
    send(Trackio(project="mails"), run, events[:6])
    send(Trackio(project="mails"), run, events[6:])
    send(Trackio(project="mails"), replayed(run), events)
    rows = [
        (name, int(row["step"]), value)
        for row in sqlite_storage.SQLiteStorage.get_logs("mails", run.id)
        for name, value in row.items()
        if "/" in name and value is not None
    ]
    assert len({row[:2] for row in rows}) == len(rows)
    assert {row[:2]: row[2] for row in rows} == pytest.approx(expected(events))


def test_a_password_in_an_address_is_refused() -> None:
    with pytest.raises(SpecError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        MLflow(uri="https://user:hunter2hunter2@mlflow.example.com")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SpecError, match="mode must be"):
        Wandb(mode="ofline")  # type: ignore[arg-type]
