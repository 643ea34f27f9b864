"""The course of one request: who is asked, for how long, with which money, and who is asked next."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from ftsdk.deploy.router.alias import Alias, is_in_canary
from ftsdk.deploy.router.breaker import Ticket
from ftsdk.deploy.router.contract import asked_schema
from ftsdk.deploy.router.records import AnswerRecord, AttemptRecord, Role
from ftsdk.deploy.router.requests import ClientGone, Refusal, RouteRequest, Sink
from ftsdk.deploy.router.spend_limits import SpendLimit
from ftsdk.deploy.router.target_wire import TargetAnswer, TargetFailure
from ftsdk.spec import TokenPrice

if TYPE_CHECKING:
    from ftsdk.deploy.router.dispatch import Dispatcher

__all__ = ["Attempt", "Course"]

_MOST_OUTPUT_TOKENS = 4096
"""What an answer may have where the request sets no limit, for the money that is set aside."""
_PER_MESSAGE_TOKENS = 16
_LEAST_S = 0.005
"""With less time left nobody is asked."""
_STATUSES = {"timeout": 504, "rate_limited": 429, "breaker_open": 503, "budget": 503, "busy": 503}
"""What the client is told, by word; 502 for all others."""
_REFUSED = "the request was refused"
_ADVICE = {
    "timeout": "no target answered in time",
    "rate_limited": "the target has had too many requests",
    "breaker_open": "every target is resting after failures",
    "budget": "the router's limit on money is reached",
    "busy": "every place at the target was taken; raise the endpoint's concurrency",
    "connection": "the target can't be reached",
    "server_error": "the target failed",
    "credentials": "the target refused the router's key",
    "cut": "the target broke off",
    "empty": "the answer was empty",
    "schema": "the answer didn't fit the JSON Schema",
    "validator": "the answer wasn't accepted by the validator",
    "invalid_answer": "the target's answer can't be read",
    "length": "the answer ended at the limit of its tokens",
}


@dataclass(kw_only=True, slots=True)
class Attempt:
    """A target while it is asked, and afterwards."""

    arm: str
    role: Role
    model: str
    ticket: Ticket
    price: TokenPrice | None
    body: bytes
    started: float
    most_usd: Decimal
    most_input: int
    most_output: int
    limits: tuple[SpendLimit, ...] = ()
    answer: TargetAnswer = field(default_factory=TargetAnswer)
    outcome: Literal["answered", "rejected", "failed", "cancelled"] = "cancelled"
    failure: TargetFailure | None = None
    word: str | None = None
    duration_s: float = 0.0
    first_token_s: float | None = None
    usd: Decimal | None = None
    is_bound: bool = False

    def record(self) -> AttemptRecord:
        """Return what is kept of it."""
        return AttemptRecord(
            arm=self.arm,
            role=self.role,
            model=self.model,
            outcome=self.outcome,
            error=self.word,
            duration_s=self.duration_s,
            first_token_s=self.first_token_s,
            input_tokens=self.answer.input_tokens,
            output_tokens=self.answer.output_tokens,
            cost_usd=None if self.usd is None else float(self.usd),
            is_cost_bound=self.is_bound,
        )


class Course:
    """One request on its way."""

    def __init__(self, dispatcher: Dispatcher, request: RouteRequest, sink: Sink | None, alias: Alias) -> None:
        """Note when it came."""
        self.alias = alias
        self.attempts: list[Attempt] = []
        self.delivered: Attempt | None = None
        """The attempt whose answer the client got."""
        self.refusal: Refusal | None = None
        self._own = dispatcher
        self._request = request
        self._sink = sink
        self._at = dispatcher.clock()
        self._started = dispatcher.monotonic()
        self._reason: str | None = None
        """Why the first target's answer isn't used."""
        self._notes: list[tuple[str, str]] = []
        """Why each target has no answer."""
        self._is_gone = False
        self._has_begun = False
        self._waits_for_client = False
        self._schema = asked_schema(request.body)

    async def run(self) -> None:
        """Ask until there is an answer; afterwards there is `delivered`, or `refusal`, or the client is gone."""
        order = self._order()
        for position, (arm, role) in enumerate(order):
            remaining = self._remaining()
            if remaining < _LEAST_S:
                self._note(arm, "timeout")
                break
            attempt = self.begin(arm, role, is_second=bool(self.attempts))
            if isinstance(attempt, str):
                self._note(arm, attempt)
                continue
            self.attempts.append(attempt)
            try:
                await self.ask(attempt, remaining / (len(order) - position))
            except ClientGone:
                self._is_gone = True
                return
            if attempt.outcome == "answered":
                self.delivered = attempt
                return
            assert attempt.word is not None
            self._note(arm, attempt.word)
            if self._has_begun:
                break
        self._give_up()

    def verdicts(self) -> dict[str, bool]:
        """Return whether each target that was asked had an acceptable answer."""
        judged = (attempt for attempt in self.attempts if attempt.outcome != "cancelled" and attempt.word != "busy")
        return {attempt.arm: attempt.word is None for attempt in judged}

    def begin(self, arm: str, role: Role, *, is_second: bool) -> Attempt | str:
        """Return leave to ask a target, or the word for why it isn't asked; a second one is put on record first."""
        own = self._own
        now = own.monotonic()
        endpoint = own.targets[arm]
        # Before there is a ticket: one that isn't handed back would keep a breaker from closing.
        body = own.wires[arm].body_for(self._request.body, streamed=self._sink is not None)
        ticket = own.breakers[arm].admit(now)
        if ticket is None:
            return "breaker_open"
        most_input = len(body) + _PER_MESSAGE_TOKENS * (len(self._request.messages) + 1)
        most_output = _most_output(self._request.body)
        most = Decimal(0)
        limits: tuple[SpendLimit, ...] = ()
        if endpoint.price is not None:
            most = endpoint.price.usd(input_tokens=most_input, output_tokens=most_output)
            is_extra = role in ("fallback", "shadow")
            limits = (own.spending.all, own.spending.extra) if is_extra else (own.spending.all,)
        if not all(limit.covers(most, now) for limit in limits):
            own.breakers[arm].released(ticket)
            return "budget"
        if is_second:
            own.log.append({"kind": "asked", "id": self._request.id, "at": own.clock(), "arm": arm, "role": role})
        for limit in limits:
            limit.set_aside(most)
        return Attempt(
            arm=arm,
            role=role,
            model=endpoint.model,
            ticket=ticket,
            price=endpoint.price,
            body=body,
            started=now,
            most_usd=most,
            most_input=most_input,
            most_output=most_output,
            limits=limits,
        )

    async def ask(self, attempt: Attempt, within_s: float) -> None:
        """Ask a target; how it ended is in the attempt.

        Raises:
            ClientGone: So no answer is needed.
        """
        own = self._own
        breaker = own.breakers[attempt.arm]
        try:
            await self._exchange(attempt, within_s)
        except TargetFailure as failure:
            attempt.failure, attempt.word, attempt.outcome = failure, failure.word, "failed"
        finally:
            now = own.monotonic()
            attempt.duration_s = now - attempt.started
            self._settle(attempt, now)
            failure = attempt.failure
            if attempt.outcome == "cancelled" or (failure is not None and not failure.is_of_target):
                breaker.released(attempt.ticket)
            elif failure is not None:
                breaker.failed(attempt.ticket, now, retry_after_s=failure.retry_after_s)
            else:
                breaker.succeeded(attempt.ticket)

    async def _exchange(self, attempt: Attempt, within_s: float) -> None:
        wire, answer = self._own.wires[attempt.arm], attempt.answer
        try:
            async with asyncio.timeout(within_s) as limit:
                if self._sink is None:
                    await wire.ask(attempt.body, answer)
                else:
                    await self._pass_on(attempt, self._sink, limit)
        except TimeoutError:
            if self._waits_for_client:
                raise ClientGone from None  # it has stopped reading, which says nothing of the target
            word = "timeout" if answer.is_sent else "busy"
            raise TargetFailure(word, is_billable=answer.is_sent) from None
        word = self._own.contract.problem(
            self._request.messages,
            answer.text,
            finish_reason=answer.finish_reason,
            calls_tools=answer.calls_tools,
            request_schema=self._schema,
        )
        attempt.word = word
        # What has been streamed has been delivered, acceptable or not.
        attempt.outcome = "answered" if word is None or self._has_begun else "rejected"

    async def _pass_on(self, attempt: Attempt, sink: Sink, limit: asyncio.Timeout) -> None:
        """Pass a stream on, once it has something of the answer: until then another target can still take over."""
        own, held = self._own, list[bytes]()
        options: Any = self._request.body.get("stream_options")
        wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))  # pyright: ignore[reportUnknownMemberType]
        stream = own.wires[attempt.arm].stream(attempt.body, attempt.answer)
        async with contextlib.aclosing(stream) as pieces:
            async for piece in pieces:
                if piece.is_usage and not wants_usage:
                    continue
                if self._has_begun:
                    await self._give(sink.write(piece.raw))
                    continue
                held.append(piece.raw)
                if piece.is_token:
                    now = own.monotonic()
                    attempt.first_token_s = now - attempt.started
                    limit.reschedule(asyncio.get_running_loop().time() + self._remaining())
                    self._has_begun = True
                    await self._give(sink.begin(attempt.arm, self._reason))
                    await self._give(sink.write(b"".join(held)))
        if not self._has_begun:
            raise TargetFailure("empty", status=200, is_billable=True)

    async def _give(self, sending: Awaitable[None]) -> None:
        self._waits_for_client = True
        await sending
        self._waits_for_client = False

    def _settle(self, attempt: Attempt, now: float) -> None:
        """Count what an attempt cost: the most that it can, where something may be billed and nothing is known."""
        if attempt.price is None:
            return
        answer, failure = attempt.answer, attempt.failure
        if not answer.is_sent or (failure is not None and not failure.is_billable):
            usd = Decimal(0)
        elif answer.input_tokens is None or answer.output_tokens is None:
            usd, attempt.is_bound = attempt.most_usd, True
        else:
            usd = attempt.price.usd(input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)
        attempt.usd = usd
        for limit in attempt.limits:
            limit.settle(attempt.most_usd, usd, now)

    def _order(self) -> list[tuple[str, Role]]:
        """Return whom to ask, in order: canary or champion, the champion, the fallbacks."""
        found: dict[str, Role] = {}
        alias = self.alias
        if alias.canary is not None and is_in_canary(alias, self._request.conversation):
            found[alias.canary] = "canary"
            found[alias.champion] = "fallback"
        else:
            found[alias.champion] = "tuned"
        for arm in self._own.fallbacks:
            if arm != alias.canary:  # on trial, it is no help
                found.setdefault(arm, "fallback")
        return list(found.items())

    def _remaining(self) -> float:
        return self._started + self._own.timeout_s - self._own.monotonic()

    def _note(self, arm: str, word: str) -> None:
        self._notes.append((arm, word))
        if self._reason is None:
            self._reason = word

    def _give_up(self) -> None:
        """Say why there is no answer: what the last target ended with, or why it wasn't asked."""
        cut = next((attempt for attempt in self.attempts if attempt.word == "length"), None)
        if cut is not None and self._sink is None:
            # The client sees by finish_reason that it is cut, and can do with it what it likes.
            self.delivered = cut
            return
        arm, word = self._notes[-1]
        last = next((attempt for attempt in self.attempts if attempt.arm == arm), None)
        failure = None if last is None else last.failure
        status = _STATUSES.get(word, 502)
        if word == "refused" and failure is not None and failure.status is not None:
            status = failure.status
        detail = f": {failure.message}" if failure is not None and failure.message else ""
        self.refusal = Refusal(
            word=word,
            status=status,
            message=f"no answer from {self._own.name}: {_ADVICE.get(word, _REFUSED)}{detail} "
            f"({', '.join(f'{name}: {why}' for name, why in self._notes)})",
            retry_after_s=self._retry_after(word, failure),
        )

    def _retry_after(self, word: str, failure: TargetFailure | None) -> float | None:
        if failure is not None and failure.retry_after_s is not None:
            return failure.retry_after_s
        if word != "breaker_open":
            return None
        now = self._own.monotonic()
        return max(1.0, min(breaker.seconds_left(now) for breaker in self._own.breakers.values()))

    def record(self) -> AnswerRecord:
        """Return what is kept of the request."""
        own, request = self._own, self._request
        last = self.delivered or (self.attempts[-1] if self.attempts else None)
        known = [attempt.usd for attempt in self.attempts if attempt.usd is not None]
        not_answered = "cancelled" if self.refusal is None else "failed"
        outcome = not_answered if self.delivered is None else "answered"
        ended = own.monotonic()
        answer = TargetAnswer() if last is None else last.answer
        accepted = None
        if self.delivered is not None and (own.contract.judges or self.delivered.word is not None):
            accepted = self.delivered.word is None
        asked: Any = request.body.get("model")
        return AnswerRecord(
            id=request.id,
            at=self._at,
            route=own.name,
            arm=None if last is None else last.arm,
            role=None if last is None else last.role,
            version=None if last is None else last.arm,
            rollout=self.alias.rollout,
            provider="openai",
            request_model=asked[:200] if isinstance(asked, str) else own.name,
            response_model=answer.model,
            streamed=self._sink is not None,
            outcome=outcome,
            error=None if self.refusal is None else self.refusal.word,
            fallback_reason=self._reason if self.delivered is None or self.delivered is not self._first() else None,
            finish_reason=answer.finish_reason,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            duration_s=ended - self._started,
            first_token_s=self._first_token_s(),
            cost_usd=float(sum(known)) if known else None,
            accepted=accepted,
            accepted_by=None if accepted is None else "validator",
            slice=request.slice,
            attempts=tuple(attempt.record() for attempt in self.attempts),
            measures=self._measures(answer.text) if outcome == "answered" else None,
        )

    def _first(self) -> Attempt | None:
        order = self._order()
        first = self.attempts[0] if self.attempts else None
        return first if first is not None and first.arm == order[0][0] else None

    def _first_token_s(self) -> float | None:
        attempt = self.delivered
        if attempt is None or attempt.first_token_s is None:
            return None
        return attempt.started + attempt.first_token_s - self._started

    def _measures(self, text: str) -> Mapping[str, Any] | None:
        if self._own.measure is None:
            return None
        try:
            return self._own.measure(self._request.messages, text)
        except Exception:  # noqa: BLE001 - the user's code; an answer without measures is an answer
            return None


def _most_output(body: Mapping[str, Any]) -> int:
    """Return the most tokens that an answer may have."""
    known = [limit for limit in (body.get("max_tokens"), body.get("max_completion_tokens")) if limit is not None]
    return max(known, default=_MOST_OUTPUT_TOKENS) * (body.get("n") or 1)
