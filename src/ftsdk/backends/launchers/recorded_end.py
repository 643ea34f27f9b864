"""The end of a run, recorded by a client for a worker that couldn't: in a file that no worker writes to.

Where files are copied to a store, a worker that is killed may still send its copy of the event log, and the last write
of a file wins. So the log is left alone; readers see it up to its length at that time, followed by this end.
"""

from __future__ import annotations

import json

from ftsdk.protocol import TERMINAL, StateEvent
from ftsdk.runfolder.event_log import parse_events

__all__ = ["RECORDED_END", "recorded_end", "with_recorded_end"]

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
