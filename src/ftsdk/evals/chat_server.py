"""One request to an OpenAI-compatible server: sent once, paid from a budget, and read."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from ftsdk._format import money
from ftsdk._secrets import redact, remove_keys
from ftsdk._spend import SpendMeter
from ftsdk.errors import BackendError, BudgetExceededError, FtsdkError
from ftsdk.evals.bounded_http import (
    AnswerTooLarge,
    AnswerTooLate,
    BoundedClient,
    HttpAnswer,
    NoConnection,
    Unreachable,
)
from ftsdk.evals.chat_errors import error_of, message_in, refused_parameter, seconds_to_wait
from ftsdk.evals.chat_request import ChatRequest, RequestWords
from ftsdk.evals.completion import completion_in
from ftsdk.evals.stop_rule import NotConnected
from ftsdk.spec import TokenPrice

__all__ = ["Bill", "ChatServer", "NotSent", "Reply"]

_LARGEST_BODY = 4 << 20
"""Bytes; more than any answer, and small enough to hold for each request in flight."""
_LONGEST_MESSAGE = 500
"""Characters of a server's message that are shown."""
_MOST_TIMES = 100
"""A count of tokens that is so many times the most that was asked for is a fault of the server."""
_PARAMETER_REFUSED = (400, 422)
_STRUCTURED_ADVICE = (
    "if it is about response_format: the server may not hold answers to a schema, or not to this one (OpenAI's needs "
    "additionalProperties: false and every property required); try Endpoint(structured='structured_outputs') for vLLM, "
    "or ask without the constraint"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer, and what the server counted."""

    text: str
    input_tokens: int | None
    """Tokens of the prompt; None: the server doesn't report them."""
    output_tokens: int | None
    """Tokens of the answer, reasoning included; None: the server doesn't report them."""
    is_cut: bool
    """Whether the answer ended at the limit of its tokens."""
    seconds: float | None = None
    """From the request to the last byte, without the attempts before it."""
    usd: Decimal | None = None
    """What it cost, with what attempts before it may have cost, in US dollars; None: the price isn't known."""


class NotSent(BackendError):
    """Another request has failed for good, so this one wasn't sent."""


@dataclass
class Bill:
    """What the attempts at one conversation have cost, or may have, and the budget that they are paid from."""

    meter: SpendMeter | None = None
    usd: Decimal | None = None
    """US dollars; None: the price isn't known, or nothing was sent."""


class ChatServer:
    """A server, and what it has shown of itself. Any number of threads may ask."""

    def __init__(
        self,
        *,
        url: str,
        key: str | None,
        key_name: str,
        connections: int,
        timeout_s: float,
        price: TokenPrice | None,
        words: RequestWords,
        is_over: threading.Event,
        clock: Callable[[], float],
    ) -> None:
        """Make a client; see `ChatWire`. Nothing is sent once `is_over` is set."""
        self.url = url
        self.has_answered = False
        """Whether there was an answer yet."""
        self._secrets = () if key is None else (key,)
        self._key_name = key_name
        self._timeout_s = timeout_s
        self._price = price
        self._words = words
        self._is_over = is_over
        self._clock = clock
        self._lock = threading.Lock()
        self._client = BoundedClient(
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout_s=timeout_s,
            connections=connections,
            most_bytes=_LARGEST_BODY,
        )

    def close(self) -> None:
        """Close the connections; requests in flight are cancelled."""
        self._client.close()

    def answer(self, request: ChatRequest, bill: Bill) -> Reply:
        """Send a request; again without a parameter that the server refuses by name.

        Raises:
            CredentialsError: The key was refused.
            BackendError: There is no answer; `retryable` tells whether it may work later.
            BudgetExceededError: The budget doesn't cover it.
        """
        while True:
            if self._is_over.is_set():
                raise NotSent("not sent: another request has failed for good")
            words = self._words
            reply = self._paid(request, words, bill)
            if isinstance(reply, Reply):
                self.has_answered = True
                return replace(reply, usd=bill.usd)
            is_refusal = reply.status in _PARAMETER_REFUSED
            parameter = refused_parameter(reply.body, words.optional) if is_refusal else None
            if parameter is None:
                raise self._error(reply, is_structured="response_format" in request.fields)
            with self._lock:
                self._words = self._words.without(parameter)

    def _paid(self, request: ChatRequest, words: RequestWords, bill: Bill) -> Reply | HttpAnswer:
        """Send a request once, within the budget; what the server may bill without an answer counts at its most."""
        price, meter = self._price, bill.meter
        if price is None:
            return self._sent(request, words)
        most_input = request.most_input_tokens()
        most = price.usd(input_tokens=most_input, output_tokens=request.max_new_tokens)
        if meter is not None and not meter.set_aside(most):
            raise self._over_budget(meter, most)
        cost = most
        try:
            if self._is_over.is_set():  # while money was waited for
                cost = Decimal(0)
                raise NotSent("not sent: another request has failed for good")
            reply = self._sent(request, words)
            if isinstance(reply, Reply):
                reply = _believed(reply, most_input, request.max_new_tokens)
                given = most_input if reply.input_tokens is None else reply.input_tokens
                taken = request.max_new_tokens if reply.output_tokens is None else reply.output_tokens
                cost = price.usd(input_tokens=given, output_tokens=taken)
            else:
                cost = Decimal(0)  # no provider bills refusals
            return reply
        except NotConnected:
            cost = Decimal(0)
            raise
        finally:
            bill.usd = (bill.usd or Decimal(0)) + cost
            if meter is not None:
                meter.settle(most, cost)

    def _sent(self, request: ChatRequest, words: RequestWords) -> Reply | HttpAnswer:
        started = time.monotonic()
        try:
            answer = self._client.post(f"{self.url}/chat/completions", request.body(words))
        except AnswerTooLate as error:
            raise BackendError(
                f"no answer from {self.url} within {self._timeout_s:g} s ({error}); raise timeout_s or try later",
                retryable=True,
            ) from error
        except AnswerTooLarge as error:
            limit = f"{_LARGEST_BODY >> 20} MiB"
            raise BackendError(
                f"{self.url} sent more than {limit} for one answer; check the url", status_code=200
            ) from error
        except Unreachable as error:
            message = f"can't reach {self.url} ({error}); check the url and the network"
            kind = NotConnected if isinstance(error, NoConnection) else BackendError
            raise kind(message, retryable=True) from error
        return answer if answer.status != 200 else self._read(answer.body, time.monotonic() - started)

    def _read(self, body: bytes, seconds: float) -> Reply:
        try:
            found = completion_in(json.loads(body))
            return Reply(
                text=remove_keys(found.text, self._secrets),
                input_tokens=found.input_tokens,
                output_tokens=found.output_tokens,
                is_cut=found.is_cut,
                seconds=seconds,
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            kind = type(error).__name__
        # Out of the `except`: the parser's error holds what the server sent, which may repeat the key.
        said = redact(message_in(body), self._secrets, limit=_LONGEST_MESSAGE)
        raise BackendError(
            f"{self.url} did not answer with a chat completion ({kind}){f': {said}' if said else ''}; check the url "
            "(it ends with the version, such as '/v1')",
            status_code=200,
        )

    def _error(self, answer: HttpAnswer, *, is_structured: bool) -> FtsdkError:
        message = redact(message_in(answer.body), self._secrets, limit=_LONGEST_MESSAGE)
        if answer.status == 403 and self.has_answered:
            detail = f": {message}" if message else ""
            return BackendError(
                f"{self.url} refused this request (HTTP 403){detail}; it took the key before, so look at the prompt: a "
                "filter may stop it",
                status_code=403,
            )
        return error_of(
            answer.status,
            message,
            address=self.url,
            key_name=self._key_name,
            retry_after_s=seconds_to_wait(answer.headers.get("retry-after"), self._clock()),
            advice=_STRUCTURED_ADVICE if is_structured and answer.status in _PARAMETER_REFUSED else None,
        )

    def _over_budget(self, meter: SpendMeter, most: Decimal) -> BudgetExceededError:
        return BudgetExceededError(
            f"budget_usd={meter.budget_usd} is reached: {money(meter.spent_usd)} is spent, and the next request to "
            f"{self.url} may cost up to {money(most)}; every answer so far is kept, so evaluate again with a budget "
            "for the rest, or set a lower max_new_tokens",
            accrued_usd=meter.spent_usd,
            budget_usd=meter.budget_usd,
        )


def _believed(reply: Reply, most_input: int, most_output: int) -> Reply:
    """Return a reply without impossible counts: what a server adds to a prompt counts too, but is never so much."""
    given, taken = reply.input_tokens, reply.output_tokens
    return replace(
        reply,
        input_tokens=None if given is None or given > _MOST_TIMES * most_input else given,
        output_tokens=None if taken is None or taken > _MOST_TIMES * most_output else taken,
    )
