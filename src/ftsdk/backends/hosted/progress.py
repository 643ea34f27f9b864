"""The events that a trainer emits, each written to the event log once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import assert_never

from ftsdk.protocol import CheckpointEvent, EvalEvent, Event, LogEvent, StateEvent, StepEvent
from ftsdk.protocol.meter import Meter
from ftsdk.runfolder.event_log import EventWriter

__all__ = ["Progress"]


class Progress:
    """Appends a trainer's events to the log, except those that an earlier attempt has logged already.

    After a restart the steps since the last checkpoint are repeated, with the same results; readers get each step once.
    Steps get the speed of training and the time left, as the run's meter measures them.

    Args:
        log: The event log.
        meter: Has counted the events in the log so far. Every event that is appended from now on is counted, too.
        clock: Seconds since the epoch.
    """

    def __init__(self, log: EventWriter, meter: Meter, *, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._meter = meter
        self._clock = clock
        self._step = max((e.step for e in log.events if isinstance(e, StepEvent)), default=-1)
        self._checkpoint = max((e.step for e in log.events if isinstance(e, CheckpointEvent)), default=-1)
        self._evals = {(e.step, e.name) for e in log.events if isinstance(e, EvalEvent)}
        self._lock = threading.Lock()
        log.listeners.append(self._count)

    def __call__(self, event: Event) -> None:
        """Append an event unless it is in the log already."""
        match event:
            case StepEvent():
                if event.step <= self._step:
                    return
                self._step = event.step
                event = self._with_pace(event)
            case CheckpointEvent():
                if event.step <= self._checkpoint:
                    return
                self._checkpoint = event.step
            case EvalEvent():
                if (event.step, event.name) in self._evals:
                    return
                self._evals.add((event.step, event.name))
            case StateEvent() | LogEvent():
                pass
            case _:
                assert_never(event)
        self._log.append(event)

    def _count(self, event: Event) -> None:
        with self._lock:  # lines of the log are appended by another thread
            self._meter.saw([event])

    def _with_pace(self, event: StepEvent) -> StepEvent:
        event = event.replace(at=round(self._clock(), 3))
        pace = self._meter.pace(event)
        if pace is None:
            return event
        tokens_per_s = event.tokens_per_s if event.tokens_per_s is not None else pace.tokens_per_s
        seconds_left = event.seconds_left if event.seconds_left is not None else pace.seconds_left
        return event.replace(tokens_per_s=tokens_per_s, seconds_left=seconds_left)
