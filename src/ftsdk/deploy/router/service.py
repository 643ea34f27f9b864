"""A router at work: its dispatcher, its watch and its observers, in one event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

from ftsdk.deploy.router.alias import locked
from ftsdk.deploy.router.config import RouterConfig
from ftsdk.deploy.router.dispatch import Dispatcher, Spending
from ftsdk.deploy.router.observers import Observers
from ftsdk.deploy.router.records import RecordLog, read_records
from ftsdk.deploy.router.requests import ClientGone, Routed, RouteRequest, Sink
from ftsdk.deploy.router.rollout_watch import RolloutWatch
from ftsdk.deploy.router.spend_limits import SpendLimit
from ftsdk.errors import SpecError

__all__ = ["RouterService"]

_HOUR_S = 3600.0
_DAY_S = 86_400.0


class RouterService:
    """What a `Router` runs. Its methods are called in its event loop."""

    def __init__(self, config: RouterConfig) -> None:
        """Note the configuration; nothing is opened."""
        self.config = config
        self.alias = config.alias_file()
        self.observers = Observers(config.observers)
        self._stack = ExitStack()
        self._random = random.Random()
        self.in_flight = 0
        """Requests that are being answered."""
        self._dispatcher: Dispatcher | None = None
        self._watch: RolloutWatch | None = None
        self._log = RecordLog(config.folder)

    async def start(self) -> None:
        """Take the folder for this process, and count what an earlier one has on record.

        Raises:
            SpecError: Another router is using the folder, or the alias can't be read.
            CredentialsError: A key isn't set.
        """
        await self._take_folder()
        try:
            alias = self.config.initial_alias()
            spending = Spending(
                all=SpendLimit(self.config.usd_per_day, window_s=_DAY_S),
                extra=SpendLimit(self.config.fallback_usd_per_hour, window_s=_HOUR_S),
            )
            dispatcher = Dispatcher(
                name=self.config.name,
                targets=self.config.targets,
                fallbacks=self.config.fallbacks,
                alias=self.alias,
                contract=self.config.contract,
                breaker=self.config.breaker,
                timeout_s=self.config.timeout_s,
                spending=spending,
                log=self._log,
                measure=self.config.measure,
            )
            watch = RolloutWatch(
                dispatcher, self.config.rule, judge=self.config.judge, on_switch=self.observers.switched
            )
            since = min(alias.at, time.time() - _DAY_S)
            lines = list(read_records(self.config.folder, since=since))
            watch.restore(alias, lines)
            _count_spending(spending, lines, dispatcher)
        except BaseException:
            self._stack.close()
            raise
        self._dispatcher, self._watch = dispatcher, watch

    async def close(self) -> None:
        """Finish what is in flight and what is being compared, write what is left, and let go of the folder."""
        deadline = time.monotonic() + self.config.timeout_s
        while self.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if self._watch is not None:
            await self._watch.close()
        if self._dispatcher is not None:
            await self._dispatcher.close()
        self.observers.close()
        self._log.close()
        self._stack.close()
        self._dispatcher = self._watch = None

    @property
    def dispatcher(self) -> Dispatcher:
        """What answers."""
        if self._dispatcher is None:
            raise SpecError("the router is closed")
        return self._dispatcher

    @property
    def watch(self) -> RolloutWatch:
        """What watches the rollout."""
        if self._watch is None:
            raise SpecError("the router is closed")
        return self._watch

    async def answer(self, request: RouteRequest, sink: Sink | None = None) -> Routed:
        """Answer a request; see `Dispatcher.answer`."""
        if self._random.random() < self.config.shadow:
            request = RouteRequest(
                body=request.body,
                conversation=request.conversation,
                is_paired=True,
                slice=request.slice,
                id=request.id,
            )
        self.in_flight += 1
        try:
            routed = await self.dispatcher.answer(request, sink)
        finally:
            self.in_flight -= 1
        self.watch.ended(routed)
        text = routed.answer.text if routed.answer is not None else None
        self.observers.answered(routed.record, messages=request.messages, answer=text)
        if routed.record.outcome == "cancelled":
            raise ClientGone
        return routed

    def feedback(self, request_id: str, *, accepted: bool, corrected: str | None) -> str | None:
        """Take a user's verdict, and return the id of the request; None: no answer has this id."""
        known = self.watch.feedback(request_id, accepted=accepted)
        if known is None:
            return None
        line = {"kind": "feedback", "id": known, "at": time.time(), "accepted": accepted, "corrected": bool(corrected)}
        self._log.append(line)
        self.observers.feedback(known, accepted=accepted, corrected=corrected)
        return known

    def status(self) -> dict[str, Any]:
        """Return how things stand."""
        own = self.dispatcher
        now = own.monotonic()
        alias = own.alias.current(now)
        trial = self.watch.trial(alias)
        return {
            "route": own.name,
            "alias": alias.all_fields(),
            "trial": trial.to_dict() if trial.is_on else None,
            "not_watched": list(self.config.not_watched),
            "targets": {
                name: {
                    "breaker": breaker.state(now),
                    "opened": breaker.opened,
                    "url": own.targets[name].url,
                    "model": own.targets[name].model,
                }
                for name, breaker in own.breakers.items()
            },
            "in_flight": self.in_flight,
            "spent_usd": {
                "last_day": float(own.spending.all.spent(now)),
                "fallbacks_last_hour": float(own.spending.extra.spent(now)),
            },
            "dropped": self.observers.dropped,
            "observer_failures": self.observers.failed,
            "judge_failures": self.watch.judge_failures,
            "record_failures": self._log.failures,
        }

    async def _take_folder(self) -> None:
        path = self.config.folder / "router.lock"
        deadline = time.monotonic() + self.config.lock_wait_s
        while True:
            try:
                self._stack.enter_context(locked(path, wait=False))
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    break
            except OSError as error:
                raise SpecError(f"{path} can't be written: {error.strerror or error}") from error
            else:
                return
            await asyncio.sleep(0.05)
        raise SpecError(
            f"another router is using {self.config.folder}; stop it, or give this one a name or a folder of its own"
        )


def _count_spending(spending: Spending, lines: Sequence[Mapping[str, Any]], dispatcher: Dispatcher) -> None:
    """Count what was spent before this process started, so that a restart lifts no limit."""
    age_of_clock = dispatcher.clock() - dispatcher.monotonic()
    for line in sorted(lines, key=_time_of):
        attempts = line.get("attempts") or ([line["attempt"]] if isinstance(line.get("attempt"), dict) else [])
        at = _time_of(line)
        for attempt in attempts:
            cost = attempt.get("cost_usd") if isinstance(attempt, dict) else None
            if isinstance(cost, (int, float)):
                usd = Decimal(str(cost))
                spending.all.add(usd, at - age_of_clock)
                if attempt.get("role") in ("fallback", "shadow"):
                    spending.extra.add(usd, at - age_of_clock)


def _time_of(line: Mapping[str, Any]) -> float:
    at = line.get("at")
    return float(at) if isinstance(at, (int, float)) else 0.0
