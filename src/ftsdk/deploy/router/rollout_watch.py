"""What turns answers into samples, samples into a decision, and a decision into one write of the alias."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ftsdk.deploy.router.alias import Alias, StaleRollout
from ftsdk.deploy.router.dispatch import Dispatcher
from ftsdk.deploy.router.record_totals import RolloutCounts
from ftsdk.deploy.router.requests import Routed
from ftsdk.deploy.router.trial import Judgement, Trial, TrialRule
from ftsdk.errors import FtsdkError

__all__ = ["Judge", "RolloutWatch"]

_log = logging.getLogger(__name__)

Judge = Callable[[Sequence[Mapping[str, Any]], str], bool]
"""Gets the messages and an answer, and returns whether it is good. It runs in a thread and may take seconds."""

_MOST_REMEMBERED = 100_000
"""Answers that feedback can be given on."""
_MOST_COPIES = 64
"""Shadow copies at once; beyond them, a request has none."""


@dataclass(frozen=True, slots=True)
class _Given:
    """Who answered a request, and in which rollout."""

    arm: str
    rollout: str


class RolloutWatch:
    """Watches a rollout. It belongs to the router's event loop."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        rule: TrialRule,
        *,
        judge: Judge | None,
        on_switch: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Watch the rollout that is in force when requests come."""
        self._dispatcher = dispatcher
        self._rule = rule
        self._judge = judge
        self._on_switch = on_switch
        self._trial: Trial | None = None
        self._given: OrderedDict[str, _Given] = OrderedDict()
        self._native: OrderedDict[str, str] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._copies = 0
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="ftsdk-judge")
        self.judge_failures = 0
        """Verdicts that the judge couldn't give."""

    def trial(self, alias: Alias) -> Trial:
        """Return the samples of a rollout: empty ones for a new rollout."""
        if self._trial is None or self._trial.alias.rollout != alias.rollout:
            self._trial = Trial(alias, self._rule)
        return self._trial

    def restore(self, alias: Alias, samples: RolloutCounts) -> None:
        """Count what an earlier process has on record of the rollout in force."""
        self.trial(alias).restore(samples, is_judged=self._judge is not None)

    def remember(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take from records who answered, for feedback that is still to come."""
        for line in lines:
            if line["kind"] == "answer" and line.get("outcome") == "answered" and isinstance(line.get("arm"), str):
                self._remember(str(line.get("id")), _Given(line["arm"], str(line.get("rollout"))), None)

    def ended(self, routed: Routed) -> None:
        """Take what a request shows; work that takes time goes on in the background."""
        record, answer = routed.record, routed.answer
        if record.outcome == "answered" and record.arm is not None:
            native = None if answer is None else answer.native_id
            self._remember(record.id, _Given(record.arm, record.rollout), native)
        alias = routed.alias
        canary = alias.canary
        if canary is None or canary not in routed.verdicts or self._current().rollout != alias.rollout:
            return
        if self._judge is None:
            self.trial(alias).limit.add(accepted=routed.verdicts[canary])
            self._decide(self.trial(alias))
        if not routed.request.is_paired:
            return
        if self._copies >= _MOST_COPIES:
            return
        self._copies += 1
        task = asyncio.get_running_loop().create_task(self._compare(routed, canary))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def feedback(self, request_id: str, *, accepted: bool) -> str | None:
        """Count a user's verdict on an answer, and return the id of its request; None: nobody knows this id."""
        request_id = self._native.get(request_id, request_id)
        given = self._given.get(request_id)
        if given is None:
            return None
        alias = self._current()
        if given.rollout == alias.rollout:
            trial = self.trial(alias)
            pair = trial.add_feedback(arm=given.arm, accepted=accepted) if trial.is_on else None
            if pair is not None:
                self._put({"kind": "pair", "id": request_id, **pair, "by": "feedback"}, alias)
                self._decide(trial)
        return request_id

    async def close(self) -> None:
        """Let comparisons that are under way come to their end, for a moment."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        for task in self._tasks:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _compare(self, routed: Routed, canary: str) -> None:
        request, alias = routed.request, routed.alias
        verdicts, texts = dict(routed.verdicts), dict(routed.texts)
        champion = alias.champion
        if champion not in verdicts:
            copied = await self._dispatcher.copy(request, champion, alias.rollout)
            if copied is None:
                return
            attempt, text = copied
            if attempt.outcome == "cancelled" or attempt.error == "busy":
                return
            verdicts[champion] = attempt.error is None
            texts[champion] = text
        by = "validator"
        if self._judge is not None:
            by = "judge"
            for arm in (canary, champion):
                if verdicts[arm]:
                    verdict = await self._judged(request.messages, texts.get(arm, ""))
                    if verdict is None:
                        return  # of neither: a pair is judged alike, or not at all
                    verdicts[arm] = verdict
        if self._current().rollout != alias.rollout:
            return  # the samples of another rollout never count
        trial = self.trial(alias)
        pair = {"canary": verdicts[canary], "champion": verdicts[champion]}
        trial.pairs.add(**pair)
        if self._judge is not None:
            trial.limit.add(accepted=verdicts[canary])
        self._put({"kind": "pair", "id": request.id, **pair, "by": by}, alias)
        self._decide(trial)

    async def _judged(self, messages: Sequence[Mapping[str, Any]], text: str) -> bool | None:
        assert self._judge is not None
        try:
            return bool(await asyncio.get_running_loop().run_in_executor(self._threads, self._judge, messages, text))
        except Exception:  # noqa: BLE001 - the user's code or their judge's server
            self.judge_failures += 1
            return None

    def _decide(self, trial: Trial) -> None:
        judgement = trial.judgement()
        if judgement is not None:
            try:
                self._carry_out(trial.alias, judgement)
            except StaleRollout:
                pass  # somebody else has switched
            except FtsdkError as error:
                _log.error("the alias couldn't be changed, though it should be (%s): %s", judgement.reason, error)

    def _carry_out(self, alias: Alias, judgement: Judgement) -> None:
        own = self._dispatcher

        def follow(before: Alias | None) -> Alias:
            assert before is not None
            step = before.rolled_back if judgement.kind == "rollback" else before.promoted
            return step(reason=judgement.reason, at=own.clock(), evidence=judgement.evidence)

        before, after = own.alias.change(follow, only_if=alias.rollout)
        assert before is not None
        line = {
            "kind": "switch",
            "at": after.at,
            "route": own.name,
            "from": before.canary if judgement.kind == "rollback" else before.champion,
            "to": after.champion,
            "canary": after.canary,
            "share": after.share,
            "why": judgement.kind,
            "reason": after.reason,
            "rollout": after.rollout,
            "before": before.rollout,
            "evidence": after.evidence,
        }
        own.log.append(line)
        _log.warning("%s: %s", judgement.kind, judgement.reason)
        self._on_switch(line)

    def _remember(self, request_id: str, given: _Given, native: str | None) -> None:
        self._given[request_id] = given
        if len(self._given) > _MOST_REMEMBERED:
            self._given.popitem(last=False)
        if native is not None:
            self._native[native] = request_id
            if len(self._native) > _MOST_REMEMBERED:
                self._native.popitem(last=False)

    def _put(self, line: Mapping[str, Any], alias: Alias) -> None:
        self._dispatcher.log.append({**line, "at": self._dispatcher.clock(), "rollout": alias.rollout})

    def _current(self) -> Alias:
        return self._dispatcher.alias.current(self._dispatcher.monotonic())

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._copies -= 1
        if not task.cancelled() and task.exception() is not None:
            _log.error("a comparison failed", exc_info=task.exception())
