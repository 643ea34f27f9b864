"""Events as lines of a log, whatever is in them."""

from __future__ import annotations

import pytest

from ftsdk.protocol import CheckpointEvent, EvalEvent, Event, LogEvent, StateEvent, StepEvent
from ftsdk.run.event_lines import event_line


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (StateEvent(state="running"), "running"),
        (StateEvent(state="failed", reason="the loss became NaN"), "failed: the loss became NaN"),
        (StepEvent(step=3), "step 3"),
        (
            StepEvent(step=3, total_steps=9, loss=1.23456, tokens_per_s=12345.6, seconds_left=90),
            "step 3/9  loss 1.235  12,346 tokens/s  1 min 30 s left",
        ),
        (EvalEvent(step=3, name="validation", metrics={"loss": 1.25, "accuracy": 0.5}), "accuracy 0.5, loss 1.25"),
        (CheckpointEvent(step=2), "step 2: checkpoint saved"),
        (LogEvent(message="loaded"), "loaded"),
        (LogEvent(level="warning", message="it is slow"), "warning: it is slow"),
    ],
)
def test_each_event_is_one_line_with_its_time(event: Event, text: str) -> None:
    line = event_line(event.replace(at=1_800_000_000.0))
    assert line[:5] == "2027-"
    assert line.endswith(text)


def test_a_message_from_outside_stays_on_its_line_without_escapes() -> None:
    line = event_line(LogEvent(message="\x1b[31mred\x1b[0m\r\x07", at=0.0))
    assert not {"\x1b", "\r", "\x07"} & set(line)


@pytest.mark.parametrize("at", [1e300, -1e300, 1e18])
def test_an_impossible_time_is_no_error(at: float) -> None:
    assert event_line(LogEvent(message="loaded", at=at)).endswith("-  loaded")
