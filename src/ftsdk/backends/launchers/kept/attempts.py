"""What a job does on a cluster or a rented machine: attempts at its run, until it is over."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import NamedTuple

from ftsdk.backends.hosted.diagnosis import attempts_without_progress, crash_loop
from ftsdk.backends.hosted.stop_condition import INTERRUPT
from ftsdk.backends.hosted.worker import BLOCKED
from ftsdk.backends.launchers.kept.jobs import JOBS, newest_job, number_of
from ftsdk.backends.launchers.kept.storage import KeptRun
from ftsdk.errors import Diagnosis
from ftsdk.protocol import TERMINAL, Event, StateEvent, StepEvent
from ftsdk.runfolder.event_log import EVENTS, parse_events

__all__ = ["JobCommand", "make_attempts", "read_command", "say"]

_MAX_ATTEMPTS = 5
"""In a row without a new checkpoint."""
_BUSY_S = 5.0
_MOST_BUSY = 60
"""Tries to start a worker where another one still holds the run's lock."""


class JobCommand(NamedTuple):
    """Which job of which run, and where the run's files are."""

    storage: str
    run_id: str
    job_id: str


def read_command(module: str, argv: Sequence[str], *, place: str, remedy: str) -> JobCommand | None:
    """Read a job's command line, `STORAGE RUN JOB VERSION`; None, and a line on stderr, if it can't be followed.

    Args:
        module: The module that is run, for the usage.
        argv: The arguments after it.
        place: What has another version of ftsdk than the client: `this machine`.
        remedy: What to do then.
    """
    if len(argv) != 4:
        sys.stderr.write(f"usage: python -m {module} STORAGE RUN JOB VERSION\n")
        return None
    *command, client = argv
    here = version("ftsdk")
    if client != here:
        sys.stderr.write(f"{place} has ftsdk {here}, and the run was submitted by ftsdk {client}; {remedy}\n")
        return None
    return JobCommand(*command)


def make_attempts(
    run: KeptRun,
    job_id: str,
    attempt: Callable[[str], bool],
    *,
    nobody_started: str,
    is_told_to_leave: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Make attempts until the run is over, can't go on, or the job has to leave.

    Args:
        run: The run's files.
        job_id: The job that makes them.
        attempt: Makes one, which is given a name, and returns False if the job leaves instead.
        nobody_started: What to say once no worker could be started.
        is_told_to_leave: Returns whether the job has to leave.
        sleep: Waits for some seconds.

    Returns:
        The job's exit status: 0 if the run is over, or another job has it.
    """
    busy = 0
    while True:
        events = _events_of(run)
        if (status := _status_before(run, job_id, events)) is not None:
            return status
        run.remove(INTERRUPT)
        if not attempt(f"{job_id}.{len(events)}.{busy}"):
            return _exit_status(run)
        after = _events_of(run)
        last = after[-1] if after else None
        if isinstance(last, StateEvent) and last.native == BLOCKED:
            return 1
        if is_told_to_leave():
            return _exit_status(run)
        if len(after) > len(events):
            busy = 0
            continue
        # The worker wrote nothing: another one has the run's lock, or it couldn't be started at all.
        busy += 1
        if busy >= (_MOST_BUSY if run.has_worker() else _MAX_ATTEMPTS):
            say(nobody_started)
            return 1
        sleep(_BUSY_S)


def say(text: str) -> None:
    """Write a line to the job's log."""
    sys.stdout.write(f"ftsdk: {text}\n")
    sys.stdout.flush()


def _status_before(run: KeptRun, job_id: str, events: Sequence[Event]) -> int | None:
    """Return the job's exit status if no further attempt is to be made: 0 if the run is over, or a later job has it."""
    if _is_over(events):
        return 0
    newest = newest_job(run.read(JOBS))
    if newest is not None and number_of(newest) > number_of(job_id):
        return 0
    if attempts_without_progress(list(events)) >= _MAX_ATTEMPTS:
        # With no client that would give it up.
        steps = [event.step for event in events if isinstance(event, StepEvent)]
        diagnosis: Diagnosis = crash_loop(_MAX_ATTEMPTS, step=steps[-1] if steps else None, log_tail="the job's log")
        run.record_end(StateEvent(state="failed", reason=diagnosis.message, diagnosis=diagnosis._asdict()))
        return 1
    return None


def _exit_status(run: KeptRun) -> int:
    """Return the exit status of a job that leaves: 0 if the run is over."""
    return 0 if _is_over(_events_of(run)) else 1


def _is_over(events: Sequence[Event]) -> bool:
    """Return whether the last event is the run's end."""
    last = events[-1] if events else None
    return isinstance(last, StateEvent) and last.state in TERMINAL


def _events_of(run: KeptRun) -> list[Event]:
    """Return the events in the log."""
    return parse_events(run.read(EVENTS) or b"")
