"""What answers requests: the targets with their connections and breakers, the limits, and the records."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.deploy.router.alias import AliasFile
from ftsdk.deploy.router.breaker import Breaker, BreakerRule
from ftsdk.deploy.router.contract import Contract
from ftsdk.deploy.router.course import Course
from ftsdk.deploy.router.records import AttemptRecord, RecordLog
from ftsdk.deploy.router.requests import Routed, RouteRequest, Sink
from ftsdk.deploy.router.spend_limits import SpendLimit
from ftsdk.deploy.router.target_wire import TargetWire
from ftsdk.evals.endpoint import Endpoint

__all__ = ["Dispatcher", "Measure", "Spending"]

Measure = Callable[[Sequence[Mapping[str, Any]], str], Mapping[str, Any]]
"""Gets the messages and the answer, and returns numbers for the record; it must be quick."""


@dataclass(frozen=True, kw_only=True)
class Spending:
    """The router's limits on money."""

    all: SpendLimit
    """For everything."""
    extra: SpendLimit
    """For fallbacks and shadow copies."""


class Dispatcher:
    """Answers requests. It belongs to one event loop."""

    def __init__(
        self,
        *,
        name: str,
        targets: Mapping[str, Endpoint],
        fallbacks: Sequence[str],
        alias: AliasFile,
        contract: Contract,
        breaker: BreakerRule,
        timeout_s: float,
        spending: Spending,
        log: RecordLog,
        measure: Measure | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the keys; nothing is sent.

        Raises:
            CredentialsError: A key isn't set.
        """
        self.name = name
        self.targets = dict(targets)
        self.fallbacks = tuple(fallbacks)
        self.alias = alias
        self.contract = contract
        self.timeout_s = timeout_s
        self.spending = spending
        self.log = log
        self.measure = measure
        self.clock = clock
        self.monotonic = monotonic
        self.wires = {target: TargetWire(endpoint) for target, endpoint in targets.items()}
        self.breakers = {target: Breaker(breaker) for target in targets}

    async def close(self) -> None:
        """Close the connections."""
        for wire in self.wires.values():
            await wire.close()

    async def answer(self, request: RouteRequest, sink: Sink | None = None) -> Routed:
        """Ask one target after the other until one has an acceptable answer or the time is over.

        A record is written in any case, also if the task is cancelled.

        Args:
            request: What is asked.
            sink: Where the stream goes; None: the answer is wanted whole.
        """
        course = Course(self, request, sink, self.alias.current(self.monotonic()))
        try:
            await course.run()
        finally:
            record = course.record()
            self.log.append(record.to_dict())
        return Routed(
            request=request,
            record=record,
            alias=course.alias,
            answer=None if course.delivered is None else course.delivered.answer,
            refusal=course.refusal,
            verdicts=course.verdicts(),
            texts={attempt.arm: attempt.answer.text for attempt in course.attempts if attempt.outcome == "answered"},
        )

    async def copy(self, request: RouteRequest, arm: str, rollout: str) -> tuple[AttemptRecord, str] | None:
        """Ask a target for comparison only; None: it is resting, or the money is used up.

        Returns:
            What became of it, which is on record, and the answer.
        """
        course = Course(self, request, None, self.alias.current(self.monotonic()))
        attempt = course.begin(arm, "shadow", is_second=True)
        if isinstance(attempt, str):
            return None
        await course.ask(attempt, self.timeout_s)
        record = attempt.record()
        self.log.append(
            {
                "kind": "shadow",
                "id": request.id,
                "at": self.clock(),
                "rollout": rollout,
                "attempt": record.to_dict(),
            }
        )
        return record, attempt.answer.text
