"""The list of runs: one that can't be opened hides no other, and backends are asked once."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ftsdk import SpecError, runs
from ftsdk.backends.registry import backend_names, forget_entry_points, get_backend
from ftsdk.cli.app import app
from ftsdk.protocol import StateEvent
from ftsdk.run.ledger import Ledger, Record, Sighting
from ftsdk.runfolder.event_log import EventWriter


def plan_of(model: str) -> dict[str, object]:
    return {"backend": "local", "spec": {"model": {"id": model}}}


def noted(ref: str, **changes: object) -> Record:
    fields: dict[str, object] = {"name": None, "plan": plan_of("acme/m"), "options": {}, **changes}
    record = Ledger().intend(Record(ref=ref, **fields))  # type: ignore[arg-type]
    return Ledger().submitted(record.ref, {})


def test_runs_that_cannot_be_opened_are_listed_with_the_reason() -> None:
    noted("local:fine")
    noted("zeppelin:lost")
    noted("local:newer", plan={"backend": "local", "spec": {}})
    noted("local:other", options={"from_the_future": 1})
    found = runs()
    assert [run.ref for run in found] == ["local:fine"]
    reasons = {u.ref: u.reason for u in found.unreadable}
    assert "unknown backend 'zeppelin'" in reasons["zeppelin:lost"]
    assert "newer ftsdk" in reasons["local:newer"]
    assert "from_the_future" in reasons["local:other"]
    for ref in reasons:
        assert ref in str(found)
    shown = CliRunner().invoke(app, ["runs", "--json"])
    assert [row["state"] for row in json.loads(shown.stdout)] == ["queued", "unreadable", "unreadable", "unreadable"]


def test_a_list_of_nothing_but_unreadable_runs_is_not_empty() -> None:
    noted("zeppelin:lost")
    assert "zeppelin:lost" in str(runs())
    assert "zeppelin:lost" in CliRunner().invoke(app, ["runs"]).stdout


def test_states_are_refreshed_and_kept(ftsdk_home: Path) -> None:
    folder = ftsdk_home / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    log = EventWriter(folder)
    log.append(StateEvent(state="cancelled"))
    log.close()
    noted("local:a")
    assert runs(refresh=False)[0].last_seen_state == "queued"
    assert runs()[0].last_seen_state == "cancelled"
    assert Ledger().get("local:a").state == "cancelled"


def test_a_killed_run_is_shown_as_interrupted_but_keeps_its_state(ftsdk_home: Path) -> None:
    folder = ftsdk_home / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    log = EventWriter(folder)
    log.append(StateEvent(state="running"))
    log.close()
    noted("local:a")
    found = runs()
    assert "interrupted" in str(found)
    assert "interrupted" in str(found[:1])
    assert found.rows()[0][2] == found[0].last_seen_state == "queued"
    assert "interrupted" in CliRunner().invoke(app, ["runs"]).stdout


def test_a_run_that_is_over_is_not_asked_again() -> None:
    noted("local:a")  # its folder doesn't exist, so asking would be an error
    Ledger().saw(Sighting(ref="local:a", state="succeeded"))
    assert runs()[0].last_seen_state == "succeeded"


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    forget_entry_points()
    yield
    forget_entry_points()


@pytest.mark.usefixtures("fresh_registry")
def test_a_backend_installed_while_the_process_runs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="unknown backend 'latecomer'"):
        get_backend("latecomer")
    metadata = tmp_path / "latecomer-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: latecomer\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[ftsdk.backends]\nlatecomer = ftsdk.backends.local:Local\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert get_backend("latecomer").name == "local"
    assert "latecomer" in backend_names()
