"""The last event of a run that has used up its attempts or its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftsdk.backends.hosted.diagnosis import crash_loop
from ftsdk.errors import Diagnosis
from ftsdk.protocol import Event, StateEvent, StepEvent

__all__ = ["given_up"]


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
