"""What follows when a container's attempt at an input is over: decided here, done elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modal_proto import api_pb2 as pb

__all__ = ["Again", "Attempts", "Ended", "Final", "decide"]

How = Literal["answered", "raised", "timeout", "preempted", "crashed", "oom", "cancelled", "refused"]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How an attempt ended."""

    how: How
    """`answered` and `raised`: the function returned, or didn't. `refused`: the container could not even import it."""
    result: pb.GenericResult
    data_format: int = 0


@dataclass(frozen=True)
class Attempts:
    """What has been used up so far."""

    retries: int = 0
    crashes: int = 0
    preemptions: int = 0


@dataclass(frozen=True)
class Again:
    """The same input runs again, in another container."""

    after_s: float
    attempts: Attempts


@dataclass(frozen=True)
class Final:
    """The call is over."""


def decide(
    ended: Ended, attempts: Attempts, *, policy: pb.FunctionRetryPolicy, crashes_forgiven: int, is_cancelled: bool
) -> Again | Final:
    """Return what follows. Retries serve exceptions and timeouts.

    Preemption costs none, and `retries=0` doesn't prevent it.
    """
    if is_cancelled or ended.how in ("answered", "cancelled", "refused"):
        return Final()
    if ended.how == "preempted":
        return Again(0.0, Attempts(attempts.retries, attempts.crashes, attempts.preemptions + 1))
    if ended.how in ("crashed", "oom"):
        if attempts.crashes >= crashes_forgiven:
            return Final()
        return Again(0.0, Attempts(attempts.retries, attempts.crashes + 1, attempts.preemptions))
    if attempts.retries >= policy.retries:
        return Final()
    delay_ms = policy.initial_delay_ms * (policy.backoff_coefficient or 1.0) ** attempts.retries
    return Again(
        min(delay_ms, policy.max_delay_ms) / 1000,
        Attempts(attempts.retries + 1, attempts.crashes, attempts.preemptions),
    )
