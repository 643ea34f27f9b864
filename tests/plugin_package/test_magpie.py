"""Trackers come in by an entry point, hold what the run's own log holds, and never stop a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed_plugin import install

from ftsdk import Dataset, FineTuneJob, Local, Run
from ftsdk.backends.registry import get_backend
from ftsdk.errors import SpecError

HERE = Path(__file__).parent


@pytest.fixture
def nest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plugins, installed for this process and for workers, and the folder that the tracker fills."""
    site, nest = tmp_path / "site", tmp_path / "nest"
    nest.mkdir()
    install(HERE / "ftsdk-magpie", ["ftsdk_magpie"], site=site)
    install(HERE / "ftsdk-osprey", ["ftsdk_osprey"], site=site)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    monkeypatch.setenv("MAGPIE_NEST", str(nest))
    return nest


def finished(model: Path, *trackers: str) -> Run:
    rows = Dataset.from_rows([{"q": f"q{n}", "a": "a"} for n in range(5)]).as_chat(prompt="{q}", completion="{a}")
    backend = Local(device="cpu", trainer="osprey", trackers=trackers)
    return FineTuneJob(model=str(model), train=rows, backend=backend).submit().wait(progress=False, poll_s=0.05)


def test_a_tracker_holds_what_the_log_holds(nest: Path, model_of_headers: Path) -> None:
    run = finished(model_of_headers, "magpie")
    kept = [json.loads(line) for line in (nest / run.ref.partition(":")[2]).read_text().splitlines()]
    assert kept == [event.to_dict() for event in run.events()]
    assert kept[-1]["state"] == "succeeded"


def test_a_tracker_that_fails_is_a_warning_and_no_more(nest: Path, model_of_headers: Path) -> None:
    run = finished(model_of_headers, "moody", "magpie")
    warnings = [event.message for event in run.events() if event.kind == "log" and event.level == "warning"]
    assert [
        text for text in warnings if "tracker 'moody' could not take the event 2 (ConnectionError)" in text
    ] == warnings
    assert len(warnings) == 1
    assert "key@" not in " ".join(warnings)
    assert [e.step for e in run.events() if e.kind == "step"] == [1, 2, 3, 4, 5]
    assert len((nest / run.ref.partition(":")[2]).read_text().splitlines()) == len(run.events())


@pytest.mark.parametrize("tracker", ["sulky", "late"])
def test_nothing_follows_the_last_event_when_a_tracker_fails_there(
    nest: Path, model_of_headers: Path, tracker: str
) -> None:
    del nest
    last = finished(model_of_headers, tracker).events()[-1]
    assert last.kind == "state"
    assert last.state == "succeeded"


@pytest.mark.usefixtures("nest")
def test_trackers_are_kept_with_the_backend() -> None:
    options = Local(device="cpu", trackers=["magpie"]).options
    assert options["trackers"] == ["magpie"]
    assert get_backend("local", options).options == options


def test_an_unknown_tracker_is_refused_before_anything_starts() -> None:
    with pytest.raises(SpecError, match="unknown tracker 'magpi'"):
        Local(trackers=["magpi"])
