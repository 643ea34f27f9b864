"""The attempts of a run, counted on its Volume: how many there were, how they ended, and how long they took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from ftsdk.backends.launchers.modal.limits import GRACE_S, STARTUP_S

__all__ = [
    "ATTEMPTS",
    "Allowance",
    "Attempt",
    "Ending",
    "allowance",
    "attempts_from_json",
    "attempts_to_json",
    "spent_s",
]

ATTEMPTS = "attempts.json"

Ending = Literal["", "over", "preempted", "timeout", "died"]
"""How an attempt ended. Empty: it is running, or was killed before it could record it."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One container that worked on the run."""

    call_id: str
    task_id: str
    started_at: float
    last_at: float
    """When it was last known to be alive, in seconds since the epoch."""
    ending: Ending = ""

    def alive_at(self, at: float, ending: Ending = "") -> Attempt:
        """Return the attempt as of a later moment."""
        return replace(self, last_at=max(at, self.last_at), ending=ending)


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a new attempt may do."""

    seconds: float
    """How long it may work."""
    refusal: Literal["", "attempts", "time"] = ""
    """Why it may not work at all."""


def allowance(before: tuple[Attempt, ...], limits: Mapping[str, int]) -> Allowance:
    """Return how long the next attempt may work.

    A preempted attempt doesn't count towards `max_attempts`: it wasn't the run's fault. Its time counts, so that a run
    that is preempted again and again costs no more than the plan said.

    Args:
        before: The attempts so far.
        limits: `timeout_s` of one attempt, `max_attempts`, and `total_s` over all of them.
    """
    counted = sum(attempt.ending != "preempted" for attempt in before)
    if counted >= limits["max_attempts"]:
        return Allowance(seconds=0.0, refusal="attempts")
    left = limits["total_s"] - STARTUP_S - spent_s(before) - STARTUP_S - GRACE_S
    seconds = min(float(limits["timeout_s"]), left)
    return (
        Allowance(seconds=seconds)
        if seconds >= min(60.0, limits["timeout_s"])
        else Allowance(seconds=0.0, refusal="time")
    )


def spent_s(attempts: tuple[Attempt, ...]) -> float:
    """Return the seconds that may have been billed, every start and every shutdown counted at its longest."""
    return sum(attempt.last_at - attempt.started_at + STARTUP_S + GRACE_S for attempt in attempts)


def attempts_to_json(attempts: tuple[Attempt, ...]) -> bytes:
    """Return the attempts as JSON."""
    return json.dumps([asdict(attempt) for attempt in attempts], indent=1).encode()


def attempts_from_json(content: bytes | None) -> tuple[Attempt, ...]:
    """Read the attempts; none if the file is missing or damaged."""
    try:
        return tuple(_attempt(**row) for row in json.loads(content or b"[]"))
    except (ValueError, TypeError):
        return ()


def _attempt(*, call_id: object, task_id: object, started_at: Any, last_at: Any, ending: Any = "") -> Attempt:
    if ending not in get_args(Ending):
        raise ValueError(f"{ending!r} isn't how an attempt ends")
    return Attempt(
        call_id=str(call_id), task_id=str(task_id), started_at=float(started_at), last_at=float(last_at), ending=ending
    )
