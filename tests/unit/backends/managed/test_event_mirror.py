"""A history is written once, in one order, over any number of writers and crashes; a look at a long one is quick."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from ftsdk.backends.managed.event_mirror import Entry, EventMirror
from ftsdk.backends.managed.run_state import RunFolder
from ftsdk.protocol import Event, LogEvent, StepEvent
from ftsdk.runfolder.event_log import EVENTS, parse_events

if TYPE_CHECKING:
    from pathlib import Path


def entry(key: str, at: float, message: str) -> Entry:
    return Entry(key=key, event=LogEvent(at=at, message=message))


def events_in(folder: Path) -> list[Event]:
    return parse_events((folder / EVENTS).read_bytes())


def test_entries_are_written_once_by_any_number_of_writers(tmp_path: Path) -> None:
    for entries in ([entry("a", 1, "a")], [entry("a", 1, "a"), entry("b", 2, "b")], [entry("b", 2, "b")]):
        with EventMirror(tmp_path) as mirror:
            mirror.add(entries)
    assert [event.message for event in events_in(tmp_path) if event.kind == "log"] == ["a", "b"]


def test_late_entries_come_late_and_time_does_not_go_back(tmp_path: Path) -> None:
    with EventMirror(tmp_path) as mirror:
        mirror.add([entry("b", 5, "b")])
        mirror.add([entry("a", 1, "a"), entry("c", 6, "c")])
    assert [(event.at, event.message) for event in events_in(tmp_path) if event.kind == "log"] == [
        (5, "b"),
        (5, "a"),
        (6, "c"),
    ]


@pytest.mark.parametrize("cut", ["names", "half a name", "event", "half an event"])
def test_a_crash_at_any_moment_loses_and_doubles_nothing(cut: str, tmp_path: Path) -> None:
    with EventMirror(tmp_path) as mirror:
        mirror.add([entry("a", 1, "a"), entry("b", 2, "b"), entry("c", 3, "c")])
    events, names = (tmp_path / "events.jsonl"), (tmp_path / "seen.jsonl")
    whole = events.read_bytes().splitlines(keepends=True)
    if cut == "names":  # all names are on disk, no event is
        events.write_bytes(b"")
    elif cut == "half a name":
        events.write_bytes(b"".join(whole[:2]))
        names.write_bytes(names.read_bytes()[:-2])
    elif cut == "event":
        events.write_bytes(b"".join(whole[:2]))
    else:
        events.write_bytes(b"".join(whole[:2]) + whole[2][:-5])
    with EventMirror(tmp_path) as mirror:
        mirror.add([entry("a", 1, "a"), entry("b", 2, "b"), entry("c", 3, "c")])
    written = [json.loads(line) for line in events.read_bytes().splitlines()]
    assert [(event["seq"], event["message"]) for event in written] == [(0, "a"), (1, "b"), (2, "c")]


def long_log(folder: Path, *, count: int) -> None:
    lines = [json.dumps({"kind": "state", "seq": 0, "at": 1.0, "state": "running", "native": "running"})]
    lines += [
        json.dumps({"kind": "step", "seq": n, "at": 1.0 + n, "step": n, "loss": 1.0, "learning_rate": 1e-4})
        for n in range(1, count)
    ]
    folder.mkdir(parents=True)
    (folder / EVENTS).write_text("\n".join(lines) + "\n")
    (folder / "seen.jsonl").write_text("".join(f"{json.dumps(f'name {n}')}\n" for n in range(count)))


def quickest_ms(look: Any) -> float:
    """The quickest of a few, since other processes share the machine."""
    times: list[float] = []
    for _ in range(9):
        start = time.perf_counter()
        look()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def test_a_look_near_the_end_of_20_000_events_parses_only_the_end(ftsdk_home: Path) -> None:
    long_log(RunFolder("k", service="heron").path, count=20_000)

    def look() -> list[Event]:
        folder = RunFolder("k", service="heron")  # as in a new process
        assert folder.end_event() is None
        return folder.events(after=19_989)

    assert [event.seq for event in look()] == list(range(19_990, 20_000))
    everything = quickest_ms(lambda: RunFolder("k", service="heron").events())
    assert quickest_ms(look) < everything / 2
    folder = RunFolder("k", service="heron")
    look()
    assert quickest_ms(lambda: folder.events(after=19_989)) < everything / 20


def test_a_new_entry_after_20_000_events_does_not_parse_them(ftsdk_home: Path) -> None:
    folder = RunFolder("k", service="heron")
    long_log(folder.path, count=20_000)
    numbers = iter(range(20_000, 21_000))

    def mirror() -> None:
        with folder.mirror() as mirror:
            number = next(numbers)
            mirror.add([Entry(key=f"name {number}", event=StepEvent(at=1.0 + number, step=number, loss=1.0))])

    everything = quickest_ms(lambda: RunFolder("k", service="heron").events())
    assert quickest_ms(mirror) < everything / 2
    last = folder.events(after=20_000)[-1]
    assert isinstance(last, StepEvent)
    assert last.step == last.seq
