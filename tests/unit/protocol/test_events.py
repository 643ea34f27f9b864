"""Events as lines of text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftsdk.protocol import LogEvent, read_event


@given(st.text())
def test_a_line_that_nobody_understands_becomes_a_log_event(text: str) -> None:
    event = read_event(text, seq=3)
    assert isinstance(event, LogEvent)
    assert event.seq == 3


def test_a_kind_that_nobody_has_heard_of_becomes_a_log_event() -> None:
    event = read_event('{"kind": "confetti", "seq": 4, "at": 1}', seq=4)
    assert isinstance(event, LogEvent)
    assert "confetti" in event.message
