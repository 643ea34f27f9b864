"""The end of a run, recorded by a client for a worker that couldn't: in a file that no container writes to.

A container that is killed may still commit its copy of the event log, and the last write of a file wins. So the log is
left alone; readers see it up to its length at that time, followed by this end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ftsdk.backends.hosted.diagnosis import crash_loop
from ftsdk.errors import Diagnosis
from ftsdk.protocol import TERMINAL, Event, StateEvent, StepEvent
from ftsdk.runfolder.event_log import parse_events

__all__ = ["RECORDED_END", "given_up", "recorded_end", "with_recorded_end"]

RECORDED_END = "conclusion.json"


def recorded_end(log: bytes, end: StateEvent, *, at: float) -> bytes | None:
    """Return the content of the file.

    Args:
        log: The event log so far.
        end: The run's last event.
        at: Now, in seconds since the epoch, for an end without a time; moved to the last event's time if the clocks
            disagree.

    Returns:
        None if the log has an end of its own.
    """
    whole = log[: log.rfind(b"\n") + 1]
    events = parse_events(whole)
    last = events[-1] if events else None
    if isinstance(last, StateEvent) and last.state in TERMINAL:
        return None
    if "at" not in end.model_fields_set:
        end = end.replace(at=round(max(at, last.at if last else 0.0), 3))
    return json.dumps({"after_bytes": len(whole), "line": end.replace(seq=len(events)).to_dict()}).encode()


def with_recorded_end(log: bytes, recorded: bytes | None) -> bytes:
    """Return the log with the recorded end, if there is one."""
    if recorded is None:
        return log
    try:
        data = json.loads(recorded)
        return log[: int(data["after_bytes"])] + json.dumps(data["line"], ensure_ascii=False).encode() + b"\n"
    except (ValueError, KeyError, TypeError):
        return log


def given_up(refusal: str, *, attempts: int, limits: Mapping[str, Any], events: Sequence[Event]) -> StateEvent:
    """Return the last event of a run that has used up its attempts or its time."""
    steps = [event.step for event in events if isinstance(event, StepEvent)]
    step = steps[-1] if steps else None
    if refusal == "attempts":
        diagnosis = crash_loop(attempts, step=step, log_tail="")
        message = (
            f"{attempts} attempts ended before the training was done, and the plan allows no more "
            f"(max_attempts={limits['max_attempts']})"
        )
        diagnosis = diagnosis._replace(kind="attempts", message=message, suggestions=(*_MORE, *diagnosis.suggestions))
    else:
        budget = limits.get("budget_usd")
        what = f"all that budget_usd={budget} pays for" if budget else "all that timeout_s and max_attempts allow"
        message = (
            f"{attempts} attempts took {limits['total_s']:,} s with their starts and ends, {what}; the last whole "
            "checkpoint is on the Volume"
        )
        diagnosis = Diagnosis("budget" if budget else "timeout", message, step, _MORE)
    return StateEvent(state="failed", reason=diagnosis.message, diagnosis=diagnosis._asdict())


_MORE = (
    "more time: a higher budget_usd=, or timeout_s= and max_attempts= of the backend",
    "less work: fewer epochs=, or a faster gpu=",
)
