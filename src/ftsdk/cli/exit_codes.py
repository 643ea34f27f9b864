"""What the exit status of a command means."""

from __future__ import annotations

from ftsdk.errors import BudgetExceededError, FtsdkError, RunFailedError
from ftsdk.protocol import RunState

__all__ = [
    "CANCELLED",
    "ERROR",
    "FAILED",
    "GATE_NOT_PASSED",
    "INTERRUPTED",
    "NOT_SHIPPED",
    "OVER_BUDGET",
    "code_of_error",
    "code_of_state",
]

ERROR = 1
"""Any error but those below. 2 is a mistake in the command itself: an unknown option, a missing argument."""
NOT_SHIPPED = 1
"""Of a command that checks, such as `eval`: the verdict of a gate is "don't ship" or "can't tell"."""
FAILED = 3
"""The training failed."""
CANCELLED = 4
"""The run was cancelled."""
OVER_BUDGET = 5
"""The run could cost more than its budget and wasn't started, or has reached it and was cancelled."""
GATE_NOT_PASSED = 6
"""Of `run`, where 1 is an error: the model was trained, and the verdict of its job's gate isn't "ship"."""
INTERRUPTED = 130
"""Ctrl-C stopped the watching, not the run."""


def code_of_error(error: FtsdkError) -> int:
    """Return the exit status for an error."""
    if isinstance(error, RunFailedError):
        return FAILED
    return OVER_BUDGET if isinstance(error, BudgetExceededError) else ERROR


def code_of_state(state: RunState) -> int:
    """Return the exit status for a run in this state: 0 unless it has failed or was cancelled."""
    return {"failed": FAILED, "cancelled": CANCELLED}.get(state, 0)
