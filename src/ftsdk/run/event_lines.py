"""Events as lines of text, for logs."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from ftsdk._format import duration, printable
from ftsdk.protocol import CheckpointEvent, EvalEvent, Event, LogEvent, StateEvent, StepEvent

__all__ = ["event_line", "event_text", "step_facts"]


def event_line(event: Event) -> str:
    """Return an event as one line: local time, and what happened."""
    try:
        at = f"{datetime.fromtimestamp(event.at).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        at = "-------------------"
    return f"{at}  {printable(event_text(event))}"


def event_text(event: Event) -> str:
    """Return what happened in an event, without its time; untrusted text in it is as it came."""
    match event:
        case StateEvent():
            return ": ".join(word for word in (event.state, event.reason) if word)
        case StepEvent():
            total = f"/{event.total_steps}" if event.total_steps else ""
            return f"step {event.step}{total}  {step_facts(event)}".rstrip()
        case EvalEvent():
            values = ", ".join(f"{name} {value:.4g}" for name, value in sorted(event.metrics.items()))
            return f"step {event.step}: {event.name} {values}"
        case CheckpointEvent():
            return f"step {event.step}: checkpoint saved"
        case LogEvent():
            return event.message if event.level == "info" else f"{event.level}: {event.message}"
        case _:
            assert_never(event)


def step_facts(event: StepEvent, *, with_speed: bool = True) -> str:
    """Return loss, speed and time left of a step, as far as they are known."""
    parts: list[str] = []
    if event.loss is not None:
        parts.append(f"loss {event.loss:.3f}")
    if with_speed and event.tokens_per_s is not None:
        parts.append(f"{event.tokens_per_s:,.0f} tokens/s")
    if event.seconds_left is not None:
        parts.append(f"{duration(event.seconds_left, precise=True)} left")
    return "  ".join(parts)
