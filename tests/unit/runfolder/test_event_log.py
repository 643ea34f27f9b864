"""The event log, and its index: what a look reads and parses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ftsdk.backends.launchers.local import LocalFiles
from ftsdk.protocol import Event, LogEvent, StateEvent, StepEvent, read_event
from ftsdk.runfolder.event_log import EVENTS, EventIndex, EventWriter, parse_events


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


class Log:
    """A log file that counts what is read of it and parsed."""

    def __init__(self, folder: Path) -> None:
        self.files = LocalFiles(folder)
        self.path = folder / EVENTS
        self.bytes_read = 0
        self.lines_parsed = 0
        self.index = EventIndex(parse=self._parse)

    def read(self, *, start: int) -> bytes | None:
        content = self.files.read(EVENTS, start=start)
        self.bytes_read += len(content or b"")
        return content

    def _parse(self, line: bytes, *, seq: int) -> Event:
        self.lines_parsed += 1
        return read_event(line, seq=seq)

    def events(self, after: int = -1) -> list[Event] | None:
        return self.index.events(self.read, after=after)

    def states(self) -> list[StateEvent]:
        return self.index.states(self.read)


def written(folder: Path, *, steps: int) -> EventWriter:
    log = EventWriter(folder)
    log.append(StateEvent(state="running", native="attempt 1"))
    for step in range(steps):
        log.append(StepEvent(step=step + 1))
    return log


def test_a_second_look_reads_only_what_is_new(tmp_path: Path) -> None:
    writer = written(tmp_path, steps=500)
    log = Log(tmp_path)
    assert len(log.states()) == 1
    assert log.lines_parsed == 1
    writer.append(StepEvent(step=501))
    writer.append(StateEvent(state="succeeded"))
    writer.close()
    log.bytes_read = log.lines_parsed = 0
    assert [event.state for event in log.states()] == ["running", "succeeded"]
    assert [event.seq for event in log.events(after=500) or []] == [501, 502]
    assert log.lines_parsed == 3
    assert log.bytes_read < 700


def test_a_first_look_after_an_event_parses_only_what_follows(tmp_path: Path) -> None:
    written(tmp_path, steps=500).close()
    log = Log(tmp_path)
    assert [event.seq for event in log.events(after=498) or []] == [499, 500]
    assert log.lines_parsed == 3  # two, and the one state
    assert log.events(after=500) == []
    assert log.events(after=900) == []


def test_events_from_any_position_are_those_of_the_whole_log(tmp_path: Path) -> None:
    written(tmp_path, steps=20).close()
    log = Log(tmp_path)
    whole = log.events() or []
    for after in (19, 3, 0, -1, 7):
        assert log.events(after=after) == [event for event in whole if event.seq > after]


def test_a_line_that_is_still_being_written_is_left_for_the_next_look(tmp_path: Path) -> None:
    log = Log(tmp_path)
    assert log.events() is None
    log.path.write_bytes(b'{"kind": "step", "seq": 0, "at": 1, "step": 1}\n{"kind": "state", "seq": 1')
    assert [type(event) for event in log.events() or []] == [StepEvent]
    assert log.states() == []
    with log.path.open("ab") as file:
        file.write(b', "at": 2, "state": "failed"}\n')
    assert [event.seq for event in log.states()] == [1]
    assert [type(event) for event in log.events(after=0) or []] == [StateEvent]


def test_a_log_that_was_rewritten_or_removed_is_indexed_again(tmp_path: Path) -> None:
    written(tmp_path, steps=20).close()
    log = Log(tmp_path)
    assert len(log.events() or []) == 21
    log.path.unlink()
    writer = written(tmp_path, steps=3)
    writer.append(StateEvent(state="cancelled"))
    writer.close()
    assert [event.state for event in log.states()] == ["running", "cancelled"]
    assert len(log.events() or []) == 5
    log.path.unlink()
    assert (log.events(), log.states()) == (None, [])


def test_state_lines_of_other_writers_and_words_in_messages_are_told_apart(tmp_path: Path) -> None:
    lines = [
        b'{"seq":0,"at":1,"kind":"state","state":"running"}',
        rb'{"kind": "log", "seq": 1, "at": 1, "message": "\"kind\": \"state\""}',
        b'not json with "kind": "state" in it, "kind": "state"',
        b'{"kind": "state", "seq": 3, "at": 1, "state": "succeeded"}',
    ]
    (tmp_path / EVENTS).write_bytes(b"".join(line + b"\n" for line in lines))
    log = Log(tmp_path)
    assert [event.seq for event in log.states()] == [0, 3]
    found = EventIndex().events(partial(LocalFiles(tmp_path).read, EVENTS)) or []
    assert [type(event) for event in found] == [StateEvent, LogEvent, LogEvent, StateEvent]


def test_a_line_without_a_position_or_a_time_is_a_log_event(tmp_path: Path) -> None:
    (tmp_path / EVENTS).write_bytes(b'{"kind": "step", "step": 1}\n{"kind": "step", "seq": 1, "step": 1}\n')
    assert [(event.seq, event.kind) for event in Log(tmp_path).events() or []] == [(0, "log"), (1, "log")]


def test_text_that_is_not_utf_8_is_written_with_replacements(tmp_path: Path) -> None:
    log = EventWriter(tmp_path)
    log.append(LogEvent(message="half a pair: \ud83d"))
    log.append(StateEvent(state="failed", reason="\ud83d", diagnosis={"kind": "crash", "message": "\ud83d"}))
    log.close()
    found = Log(tmp_path).events() or []
    assert [event.kind for event in found] == ["log", "state"]
    assert isinstance(found[0], LogEvent)
    assert found[0].message == "half a pair: ?"


def test_an_event_keeps_its_time_if_it_has_one(tmp_path: Path) -> None:
    log = EventWriter(tmp_path, clock=lambda: 9.0)
    log.append(StepEvent(step=1))
    log.append(StepEvent(step=2, at=4.0, seq=77))
    log.close()
    assert [(event.seq, event.at) for event in Log(tmp_path).events() or []] == [(0, 9.0), (1, 4.0)]
