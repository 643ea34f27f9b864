"""Trackers fail, hang and lag without holding up a run; and what is written down of them holds no key."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keeping_tracker import registered

from ftsdk import Local, SpecError, Together, Wandb
from ftsdk.protocol import EvalEvent, Event, LogEvent, StateEvent, StepEvent
from ftsdk.trackers import Sinks, TrackedRun, check_trackers, load_tracker, name_of, replay
from ftsdk.trackers.readings import readings_of, settings_of

RUN = TrackedRun(id="20261128-ab12cd", spec={"name": "mails", "tuning": {"rank": 4}}, training={})
SECRET = "sk-" + "a1B2" * 10


@pytest.fixture
def keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The class that is registered as the tracker `keeps`."""
    with registered(tmp_path, monkeypatch) as kind:
        kind.words = f"no answer from https://user:{SECRET}@example.com"
        yield kind


def steps(n: int) -> list[Event]:
    return [StepEvent(seq=i, at=float(i), step=i + 1, loss=1 / (i + 1)) for i in range(n)]


def test_a_tracker_gets_every_event_in_order_before_training_goes_on(keeps: Any) -> None:
    said: list[str] = []
    sinks = Sinks(["keeps"], RUN, said.append)
    for number, event in enumerate(steps(50), start=1):
        sinks(event)
        assert len(keeps.kept) == number
    sinks.close()
    assert keeps.kept == steps(50)
    assert said == []


@pytest.mark.parametrize(("moment", "doing"), [("start", "start"), ("log", "take the event 0"), ("end", "end")])
def test_a_tracker_that_fails_is_one_warning_without_its_text(keeps: Any, moment: str, doing: str) -> None:
    keeps.fails_at = moment
    said: list[str] = []
    sinks = Sinks(["keeps"], RUN, said.append)
    for event in steps(5):
        sinks(event)
    sinks.close()
    (sentence,) = said
    assert f"tracker 'keeps' could not {doing} (ConnectionError) and is left out" in sentence
    assert SECRET not in sentence


@pytest.mark.parametrize("moment", ["start", "log", "end"])
def test_a_tracker_that_hangs_ends_up_as_a_warning(keeps: Any, moment: str) -> None:
    keeps.hangs_at = moment
    said: list[str] = []
    sinks = Sinks(["keeps"], RUN, said.append, end_s=0.05)
    for event in steps(30):  # 0.2 s each at first, and no more than 2 s together
        sinks(event)
    sinks.close()
    assert len(said) == 1
    assert "could not take all events within 0 s of the end" in said[0]


def test_a_tracker_whose_library_is_missing_names_the_extra(keeps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    said: list[str] = []
    sinks = Sinks(["wandb"], RUN, said.append)
    sinks(steps(1)[0])
    sinks.close()
    assert "could not start (ModuleNotFoundError)" in said[0]
    assert 'pip install "ftsdk[wandb]"' in said[0] or "pip install keeps" in said[0]


@pytest.mark.usefixtures("keeps")
def test_objects_are_written_down_by_name_and_options_and_built_again() -> None:
    wandb = Wandb(project="mails", mode="offline")
    found = check_trackers(["keeps", wandb])
    assert found == ("keeps", {"name": "wandb", "options": {"project": "mails", "mode": "offline"}})
    assert check_trackers(found) == found
    assert [name_of(one) for one in found] == ["keeps", "wandb"]
    again = load_tracker(found[1])
    assert isinstance(again, Wandb)
    assert again.options == wandb.options
    assert Local(trackers=["keeps", wandb]).options["trackers"] == list(found)
    assert Together(trackers=[wandb]).options["trackers"] == [found[1]]
    assert Together().options.get("trackers") is None


@pytest.mark.usefixtures("keeps")
def test_trackers_that_cannot_be_kept_are_refused() -> None:
    for given, why in (
        (["keeps", "keeps"], "names one of them twice"),
        (["wanbd"], "unknown tracker 'wanbd'; did you mean 'wandb'"),
        ("keeps", r"should be a list, with brackets around it: \['keeps'\]"),
        ([{"name": "wandb", "options": {"entity": SECRET}}], "looks like a key or holds a password"),
        ([{"name": "wandb", "options": {"entity": "https://a:secret@example.com"}}], "looks like a key or holds"),
        ([{"name": "wandb", "options": {"entity": {1}}}], "can't be written as JSON"),
        ([object()], "object isn't registered as a tracker"),
    ):
        with pytest.raises(SpecError, match=why) as caught:
            check_trackers(given)  # type: ignore[arg-type]
        assert SECRET not in str(caught.value)
    with pytest.raises(SpecError, match=r"doesn't take the options \['colour'\]"):
        load_tracker({"name": "keeps", "options": {"colour": "red"}})


def test_a_history_that_is_sent_afterwards_says_what_went_wrong(keeps: Any) -> None:
    assert replay("keeps", RUN, steps(3)) == 3
    assert keeps.kept == steps(3)
    keeps.fails_at = "log"
    with pytest.raises(Exception, match=r"tracker 'keeps' failed at event 0 of run 20261128-ab12cd") as caught:
        replay("keeps", RUN, steps(3))
    assert SECRET not in str(caught.value)


def test_readings_have_one_name_each_and_only_finite_numbers() -> None:
    found = readings_of(StepEvent(step=3, at=5.0, loss=0.5, learning_rate=1e-4, tokens=10, grad_norm=None))
    assert found == (3, 5.0, {"train/loss": 0.5, "train/learning_rate": 1e-4, "train/tokens": 10.0})
    assert readings_of(EvalEvent(step=3, at=6.0, name="validation", metrics={"loss": 0.25})) == (
        3,
        6.0,
        {"validation/loss": 0.25},
    )
    assert readings_of(StateEvent(state="running")) is None
    assert readings_of(LogEvent(message="hello")) is None
    assert settings_of({"a": 1, "b": {"c": None, "d": [1, "x"]}, "e": "f"}) == {"a": 1, "b.d": '[1, "x"]', "e": "f"}
