"""Steps that are reported to the event log."""

from __future__ import annotations

from pathlib import Path

from ftsdk.backends.hosted.progress import Progress
from ftsdk.protocol import StepEvent
from ftsdk.protocol.meter import Meter
from ftsdk.runfolder.event_log import EventWriter, parse_events


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
