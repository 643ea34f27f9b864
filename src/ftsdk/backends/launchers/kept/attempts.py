"""Whether a job makes another attempt at its run: what each place decides in the same way."""

from __future__ import annotations

from collections.abc import Sequence

from ftsdk.backends.hosted.diagnosis import attempts_without_progress, crash_loop
from ftsdk.backends.launchers.kept.jobs import JOBS, newest_job, number_of
from ftsdk.backends.launchers.kept.storage import KeptRun
from ftsdk.errors import Diagnosis
from ftsdk.protocol import TERMINAL, Event, StateEvent, StepEvent
from ftsdk.runfolder.event_log import EVENTS, parse_events

__all__ = ["BUSY_S", "MAX_ATTEMPTS", "MOST_BUSY", "events_of", "exit_status", "is_over", "status_before"]

MAX_ATTEMPTS = 5
"""In a row without a new checkpoint."""
BUSY_S = 5.0
MOST_BUSY = 60
"""Tries to start a worker where another one still holds the run's lock."""


def status_before(run: KeptRun, job_id: str, events: Sequence[Event]) -> int | None:
    """Return the job's exit status if no further attempt is to be made: 0 if the run is over, or a later job has it."""
    if is_over(events):
        return 0
    newest = newest_job(run.read(JOBS))
    if newest is not None and number_of(newest) > number_of(job_id):
        return 0
    if attempts_without_progress(list(events)) >= MAX_ATTEMPTS:
        # With no client that would give it up.
        steps = [event.step for event in events if isinstance(event, StepEvent)]
        diagnosis: Diagnosis = crash_loop(MAX_ATTEMPTS, step=steps[-1] if steps else None, log_tail="the job's log")
        run.record_end(StateEvent(state="failed", reason=diagnosis.message, diagnosis=diagnosis._asdict()))
        return 1
    return None


def exit_status(run: KeptRun) -> int:
    """Return the exit status of a job that leaves: 0 if the run is over."""
    return 0 if is_over(events_of(run)) else 1


def is_over(events: Sequence[Event]) -> bool:
    """Return whether the last event is the run's end."""
    last = events[-1] if events else None
    return isinstance(last, StateEvent) and last.state in TERMINAL


def events_of(run: KeptRun) -> list[Event]:
    """Return the events in the log."""
    return parse_events(run.read(EVENTS) or b"")
