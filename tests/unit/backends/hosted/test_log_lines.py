"""A worker's log as events."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ftsdk.backends.hosted.log_lines import lines_as_events
from ftsdk.protocol import LogEvent, StateEvent
from ftsdk.runfolder.event_log import EventWriter, parse_events


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


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
