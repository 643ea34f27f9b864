"""What a trainer says while it trains, written to the event log once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.protocol import CheckpointEvent, EvalEvent, StepEvent
from ftsdk.runfolder.event_log import EventWriter

__all__ = ["Progress"]


class Progress:
    """Append steps, validations and checkpoints, leaving out those that an earlier attempt has logged already.

    Going on from a checkpoint repeats the steps after it, with the same results: a reader sees each of them once.
    """

    def __init__(self, log: EventWriter) -> None:
        self._log = log
        self._step = max((e.step for e in log.events if isinstance(e, StepEvent)), default=-1)
        self._checkpoint = max((e.step for e in log.events if isinstance(e, CheckpointEvent)), default=-1)
        self._evals = {(e.step, e.name) for e in log.events if isinstance(e, EvalEvent)}

    def __call__(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Append an event of this kind, unless it is known."""
        if kind == "step":
            if fields["step"] <= self._step:
                return
            self._step = fields["step"]
        elif kind == "checkpoint":
            if fields["step"] <= self._checkpoint:
                return
            self._checkpoint = fields["step"]
        elif kind == "eval":
            known = (fields["step"], fields.get("name", "validation"))
            if known in self._evals:
                return
            self._evals.add(known)
        self._log.append(kind, fields)
