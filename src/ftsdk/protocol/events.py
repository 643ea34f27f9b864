"""Events: what happened to a run, in order."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from ftsdk.errors import SpecError
from ftsdk.protocol.run_state import RunState
from ftsdk.spec import Value

__all__ = ["CheckpointEvent", "EvalEvent", "Event", "LogEvent", "StateEvent", "StepEvent", "read_event"]


def _without_surrogates(text: object) -> object:
    """Replace half a surrogate pair, which can't be written as UTF-8."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_without_surrogates)]


class _Event(Value):
    seq: Annotated[int, Field(ge=0)] = 0
    """Position in the run's history: 0, 1, 2, ... The log assigns it when the event is written."""
    at: float = 0.0
    """Seconds since the epoch, UTC. If it isn't set, the log sets it when the event is written."""


class StateEvent(_Event):
    """The run entered a state."""

    kind: Literal["state"] = "state"
    state: RunState
    native: Text = ""
    """The backend's own word for the state."""
    reason: Text = ""
    diagnosis: dict[str, Any] | None = None
    """The fields of `ftsdk.errors.Diagnosis`, when the state is `failed`."""


class StepEvent(_Event):
    """One or more optimizer steps were completed."""

    kind: Literal["step"] = "step"
    step: int
    total_steps: int | None = None
    epoch: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens: int | None = None
    """Tokens trained on so far, padding left out."""
    computed_tokens: int | None = None
    """Tokens that went through the model for this step alone, in one process, padding included; what rows share counts
    once if it is computed once. None: not counted."""
    tokens_per_s: float | None = None
    seconds_left: float | None = None
    peak_memory_gb: float | None = None
    """Peak memory of one device so far, or on a CPU of the process, in GB of 1e9 bytes."""


class EvalEvent(_Event):
    """The model was evaluated during training."""

    kind: Literal["eval"] = "eval"
    step: int
    name: str = "validation"
    metrics: dict[str, float]


class CheckpointEvent(_Event):
    """A checkpoint is complete and can be resumed from."""

    kind: Literal["checkpoint"] = "checkpoint"
    step: int
    path: Text = ""


class LogEvent(_Event):
    """A log message. Native events of unknown kinds become log events, too."""

    kind: Literal["log"] = "log"
    message: Text
    level: Literal["info", "warning", "error"] = "info"


Event = Annotated[StateEvent | StepEvent | EvalEvent | CheckpointEvent | LogEvent, Field(discriminator="kind")]


_events: TypeAdapter[StateEvent | StepEvent | EvalEvent | CheckpointEvent | LogEvent] = TypeAdapter(Event)


def read_event(line: str | bytes, *, seq: int) -> Event:
    """Parse one line of an event log. Never raises: a line of an unknown kind or shape becomes a log event.

    Args:
        line: One JSON object.
        seq: Position of the line, for a line that can't be parsed.
    """
    try:
        event = _events.validate_json(line)
    except (ValidationError, SpecError):
        event = None
    if event is not None and {"seq", "at"} <= event.model_fields_set:
        return event
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    return LogEvent(seq=seq, at=_time_in(line), message=text.strip()[:2000])


def _time_in(line: str | bytes) -> float:
    try:
        at = float(json.loads(line)["at"])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return 0.0
    return at if math.isfinite(at) else 0.0
