"""Events: what happened to a run, in order."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ftsdk.errors import SpecError
from ftsdk.protocol.run_state import RunState
from ftsdk.spec import Value

__all__ = ["CheckpointEvent", "EvalEvent", "Event", "LogEvent", "StateEvent", "StepEvent", "read_event"]


class _Event(Value):
    seq: Annotated[int, Field(ge=0)]
    """Position in the run's history: 0, 1, 2, ..."""
    at: float
    """Seconds since the epoch, UTC."""


class StateEvent(_Event):
    """The run entered a state."""

    kind: Literal["state"] = "state"
    state: RunState
    native: str = ""
    reason: str = ""
    diagnosis: dict[str, Any] | None = None
    """The fields of `ftsdk.errors.Diagnosis`, when the state is `failed`."""


class StepEvent(_Event):
    """One optimizer step, or a few, were completed."""

    kind: Literal["step"] = "step"
    step: int
    total_steps: int | None = None
    epoch: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens: int | None = None
    """Tokens trained on so far, padding left out."""
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
    path: str = ""


class LogEvent(_Event):
    """A line of the log; native events of unknown kinds become one, too."""

    kind: Literal["log"] = "log"
    message: str
    level: Literal["info", "warning", "error"] = "info"


Event = Annotated[StateEvent | StepEvent | EvalEvent | CheckpointEvent | LogEvent, Field(discriminator="kind")]


_events: TypeAdapter[StateEvent | StepEvent | EvalEvent | CheckpointEvent | LogEvent] = TypeAdapter(Event)


def read_event(line: str | bytes, *, seq: int) -> Event:
    """Read one event from a line of JSON; a line of an unknown kind or shape becomes a log event, never an error."""
    try:
        return _events.validate_json(line)
    except (ValidationError, SpecError):
        text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
        # Half a surrogate pair can't be written as UTF-8 again.
        text = text.strip()[:2000].encode("utf-8", "replace").decode()
        return LogEvent(seq=seq, at=_time_in(line), message=text)


def _time_in(line: str | bytes) -> float:
    try:
        at = float(json.loads(line)["at"])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return 0.0
    return at if math.isfinite(at) else 0.0
