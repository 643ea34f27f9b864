"""What can happen to a scripted run, step by step, and which requests can fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ftsdk.spec import Value

__all__ = ["SCRIPTS", "Fault", "ScriptEntry"]

ScriptEntry = Mapping[str, Any]

_TRAINING: tuple[ScriptEntry, ...] = (
    {"kind": "state", "native": "running"},
    {
        "kind": "step",
        "step": 1,
        "total_steps": 3,
        "epoch": 1.0,
        "loss": 2.0,
        "learning_rate": 2e-4,
        "grad_norm": 1.0,
        "tokens": 100,
    },
    {
        "kind": "step",
        "step": 2,
        "total_steps": 3,
        "epoch": 2.0,
        "loss": 1.5,
        "learning_rate": 1e-4,
        "grad_norm": 0.9,
        "tokens": 200,
    },
    {"kind": "checkpoint", "step": 2},
)
_ENDING: tuple[ScriptEntry, ...] = (
    {
        "kind": "step",
        "step": 3,
        "total_steps": 3,
        "epoch": 3.0,
        "loss": 1.25,
        "learning_rate": 0.0,
        "grad_norm": 0.8,
        "tokens": 300,
    },
    {"kind": "eval", "step": 3, "metrics": {"loss": 1.3}},
    {"kind": "state", "native": "saving"},
    {"kind": "state", "native": "done"},
)
_PENDING: ScriptEntry = {"kind": "state", "native": "pending"}
_FAILURE: ScriptEntry = {
    "kind": "state",
    "native": "error",
    "reason": "the loss became NaN",
    "diagnosis": {
        "kind": "diverged",
        "message": "the loss became NaN",
        "step": 2,
        "suggestions": ["lower learning_rate"],
    },
}

SCRIPTS: Mapping[str, tuple[ScriptEntry, ...]] = {
    "succeeds": (_PENDING, *_TRAINING, *_ENDING),
    "fails": (_PENDING, *_TRAINING, _FAILURE),
    "waits": (_PENDING, *({"kind": "wait"},) * 5, *_TRAINING, *_ENDING),
    "unknown_state": (
        _PENDING,
        *_TRAINING,
        {"kind": "state", "native": "defragmenting", "reason": "a state added after this client"},
        {"kind": "defragmentation", "percent": 50},
        *_ENDING,
    ),
    "stalls": (_PENDING, *_TRAINING, {"kind": "halt"}, {"kind": "state", "native": "running"}, *_ENDING),
    "never_ends": (_PENDING, *_TRAINING),
}
"""Runs by name, entry by entry.

An event as the service would write it, `wait` (nothing happens), or `halt` (until `resume`). A `price_usd` in an entry
is what the service says from then on that the run costs.
"""


class Fault(Value):
    """Some calls of one kind go wrong with a `BackendError`."""

    call: Literal["submit", "status", "events", "cancel", "collect", "resume"]
    first: Annotated[int, Field(ge=1)] = 1
    """The first call that goes wrong, counted from 1 over all processes."""
    times: Annotated[int, Field(ge=1)] = 1
    """How many calls in a row go wrong."""
    message: str = "the scripted service is out of order"
    retryable: bool = True
    retry_after_s: float | None = None
    status_code: int | None = 503
    loses_answer: bool = False
    """True if the service does what was asked, and only its response is lost."""
