"""A router at work: its dispatcher, its watch and its observers, in one event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from ftsdk.deploy.router.alias import locked
from ftsdk.deploy.router.config import RouterConfig
from ftsdk.deploy.router.dispatch import Dispatcher, Spending
from ftsdk.deploy.router.observers import Observers
from ftsdk.deploy.router.record_totals import RecordTotals, write_totals
from ftsdk.deploy.router.records import RecordLog, read_last_records
from ftsdk.deploy.router.requests import ClientGone, Routed, RouteRequest, Sink
from ftsdk.deploy.router.rollout_watch import RolloutWatch
from ftsdk.deploy.router.spend_limits import SpendLimit
from ftsdk.errors import SpecError

__all__ = ["RouterService"]

_HOUR_S = 3600.0
_DAY_S = 86_400.0
_LINES_BETWEEN = 2000
"""Lines of the records after which their totals are written: what a start after a crash has to read again."""
_REMEMBERED_BYTES = 8 << 20
"""Of the records, which a start reads for answers that feedback may still come for."""


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
        self._totals = RecordTotals()
        self._log = RecordLog(config.folder, on_written=self._written)
        self._unwritten = 0
        """Lines since the totals were written."""
        self._writing: asyncio.Task[None] | None = None

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
            self._totals = RecordTotals.read(self.config.folder, since=since)
            watch.restore(alias, self._totals.samples(alias.rollout))
            watch.remember(read_last_records(self.config.folder, most_bytes=_REMEMBERED_BYTES))
            _count_spending(spending, self._totals, dispatcher)
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
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._dispatcher is not None:
            write_totals(self.config.folder, self._snapshot())
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
        if self._unwritten >= _LINES_BETWEEN and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write_totals())
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

    def _written(self, line: Mapping[str, Any]) -> None:
        self._totals.take(line)
        self._unwritten += 1

    def _snapshot(self) -> bytes:
        self._unwritten = 0
        return self._log.position(lambda sizes: self._totals.snapshot(sizes, now=time.time()))

    async def _write_totals(self) -> None:
        await asyncio.to_thread(write_totals, self.config.folder, self._snapshot())

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


def _count_spending(spending: Spending, totals: RecordTotals, dispatcher: Dispatcher) -> None:
    """Count what was spent before this process started, so that a restart lifts no limit."""
    now = dispatcher.clock()
    age_of_clock = now - dispatcher.monotonic()
    for at, whole, extra in totals.spent_until(now):
        spending.all.add(whole, at - age_of_clock)
        spending.extra.add(extra, at - age_of_clock)
