"""Trackers of a real run: they hold its events, and change nothing of it, with their server up or down."""

# The trackers' libraries are in an environment of their own: nox -s trackers.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk import FineTuneJob, Local, MLflow, Run, TensorBoard
from ftsdk._entry_points import installed
from ftsdk.protocol import LogEvent
from ftsdk.trackers.readings import readings_of
from ftsdk.trackers.tracker import GROUP

for library in ("tensorboard", "mlflow", "trackio", "wandb"):
    pytest.importorskip(library, reason=f"the extra {library!r} isn't installed: nox -s trackers has an environment")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif("wandb" not in installed(GROUP), reason="this installation of ftsdk is older than its trackers"),
]
MakeJob = Callable[..., FineTuneJob]
NOWHERE = "http://127.0.0.1:9"


def finish(job: FineTuneJob) -> Run:
    return job.submit().wait(progress=False, poll_s=0.05)


def test_trackers_hold_the_events_and_change_no_weight(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: Callable[[Path, Path], float]
) -> None:
    from mlflow.tracking import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    plain = finish(make_job(max_steps=4, backend=Local(device="cpu")))
    trackers: list[Any] = [TensorBoard(folder=tmp_path / "boards"), MLflow(uri=NOWHERE), "trackio", "wandb"]
    run = finish(make_job(max_steps=4, backend=Local(device="cpu", trackers=trackers)))
    assert difference(run.collect().path, plain.collect().path) == 0.0

    events, run_id = run.events(), run.ref.partition(":")[2]
    warnings = [event.message for event in events if isinstance(event, LogEvent) and event.level == "warning"]
    assert [text for text in warnings if "tracker" in text] == [text for text in warnings if "tracker 'mlflow'" in text]
    assert len([text for text in warnings if "tracker 'mlflow' could not start" in text]) == 1
    read = EventAccumulator(str(tmp_path / "boards" / run_id)).Reload()
    found = [one for one in map(readings_of, events) if one is not None]
    expected = {(name, one.step): value for one in found for name, value in one.values.items()}
    assert {(tag, one.step): one.value for tag in read.Tags()["scalars"] for one in read.Scalars(tag)} == pytest.approx(
        expected
    )
    assert list(tmp_path.glob(f"wandb/offline-run-*-{run_id}"))
    assert list((tmp_path / "trackio").glob("ftsdk*.db"))

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert run.log_to(MLflow(uri=uri)) == len(events)
    client: Any = MlflowClient(tracking_uri=uri)
    (kept,) = client.search_runs([client.get_experiment_by_name("ftsdk").experiment_id])
    losses = [one.value for one in client.get_metric_history(kept.info.run_id, "train/loss")]
    assert losses == [expected["train/loss", step] for step in range(1, 5)]
