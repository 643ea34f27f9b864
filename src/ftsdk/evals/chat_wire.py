"""A client of OpenAI-compatible servers: many conversations at once, with retries, a budget and our errors."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

from ftsdk._secrets import check_key, redact_logs
from ftsdk._spend import SpendMeter
from ftsdk.errors import BackendError, FtsdkError
from ftsdk.evals.answers import Answer
from ftsdk.evals.chat_request import (
    ChatRequest,
    LimitName,
    RequestWords,
    StructuredName,
    constraint_fields,
    unwrapped_choice,
)
from ftsdk.evals.chat_server import Bill, ChatServer, NotSent, Reply
from ftsdk.evals.generation import Conversation
from ftsdk.evals.in_flight import finished
from ftsdk.evals.stop_rule import StopRule
from ftsdk.spec import TokenPrice
from ftsdk.spec.amounts import check_amount

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from ftsdk.evals.constraints import Constraint

__all__ = ["ChatWire"]

_LONGEST_WAIT_S = 60.0


class ChatWire:
    """A connection to one server; a `Generator`, whose temperature is 0: as stable as the server allows."""

    def __init__(
        self,
        *,
        url: str,
        model: str,
        key: str | None = None,
        key_name: str = "",
        concurrency: int = 8,
        timeout_s: float = 120.0,
        attempts: int = 5,
        price: TokenPrice | None = None,
        limit_parameter: LimitName | None = None,
        sends_temperature: bool = True,
        structured: StructuredName = "response_format",
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Make a client; connections are made when they are needed.

        Args:
            url: Base URL, up to and including the version.
            model: The server's name for the model.
            key: Sent as bearer token; None sends none.
            key_name: The environment variable that held the key, for messages.
            concurrency: Most requests in flight at once.
            timeout_s: Longest time for one answer, from the request to its last byte, in seconds.
            attempts: How often a request is sent before it counts as failed.
            price: What tokens cost; None: not known.
            limit_parameter: The parameter for the longest answer. None: `max_tokens`, and `max_completion_tokens` once
                the server has refused that.
            sends_temperature: Whether requests have a temperature. A server that refuses it gets none from then on.
            structured: The parameters that hold answers to choices or a schema; see `Endpoint.structured`.
            clock: Returns seconds since the epoch, to read a date in `Retry-After`.
            sleep: Waits for a number of seconds. None waits too, but stops once another request has failed for good.

        Raises:
            CredentialsError: The key can't be sent in a header.
            SpecError: A number is out of range.
        """
        check_amount("concurrency", concurrency, at_least=1, at_most=10_000, is_whole=True)
        check_amount("timeout_s", timeout_s, above=0)
        check_amount("attempts", attempts, at_least=1, at_most=10_000, is_whole=True)
        if key is not None:
            key = check_key(key, source=key_name or "key")
            redact_logs(key)
        self._model = model
        self._concurrency = concurrency
        self._attempts = attempts
        self._structured: StructuredName = structured
        self._constraint: Constraint | None = None
        self._meter: SpendMeter | None = None
        self._is_over = threading.Event()
        self._sleep = sleep or self._wait_unless_over
        self._server = ChatServer(
            url=url,
            key=key,
            key_name=key_name,
            connections=concurrency,
            timeout_s=timeout_s,
            price=price,
            words=RequestWords(limit=limit_parameter or "max_tokens", sends_temperature=sends_temperature),
            is_over=self._is_over,
            clock=clock,
        )

    def __repr__(self) -> str:
        return f"ChatWire(url={self._server.url!r}, model={self._model!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._server.close()

    def constrained(self, constraint: Constraint) -> ChatWire:
        """Return this connection with answers that the server holds to a constraint.

        An answer that doesn't keep to it, because the server ignores the parameter, is returned as it came.
        """
        view = copy.copy(self)
        view._constraint = constraint
        return view

    def metered(self, meter: SpendMeter) -> ChatWire:
        """Return this connection with requests that are paid from a budget; see `CanMeter`."""
        view = copy.copy(self)
        view._meter = meter
        return view

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return an upper bound of the tokens of each text: its bytes in UTF-8.

        There is no tokenizer here. A token stands for at least a byte, so a limit of this many tokens never cuts an
        answer shorter than the text; an answer that rambles costs more than it would with a tokenizer.
        """
        return [len(text.encode("utf-8", "replace")) for text in texts]

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Answer every conversation; see `Generator.generate`. The first failure ends it.

        Raises:
            CredentialsError: The key was refused.
            BackendError: The server failed, or refused the request; `retryable` tells whether it may work later.
            BudgetExceededError: The budget doesn't cover the next request.
        """
        found = self.answers(conversations, max_new_tokens=max_new_tokens, on_progress=on_progress)
        return [answer.text for answer in found]

    def answers(
        self,
        conversations: Sequence[Conversation],
        *,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Answer]:
        """Answer every conversation as `generate` does, and return all that is known of the answers."""
        outputs: dict[int, Answer] = {}
        failure: BaseException | None = None
        with contextlib.closing(self._finished(conversations, max_new_tokens, frozenset())) as coming:
            for index, future in coming:
                answer, error = _outcome(future)
                if error is not None:
                    failure = failure or error
                    self._is_over.set()
                elif answer is not None:
                    outputs[index] = answer
                    if on_progress is not None:
                        on_progress(len(outputs), len(conversations))
        if failure is not None:
            raise failure
        return [outputs[index] for index in range(len(conversations))]

    def stream(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int, skip: Collection[int] = frozenset()
    ) -> Generator[tuple[int, Answer]]:
        """Yield the answers as they come; see `CanStream.stream`.

        A conversation that the server refuses, or that has no answer after all attempts, ends as an `Answer` with an
        error. What concerns all conversations alike is raised (see `StopRule`): then no more are sent, the answers to
        those in flight are still yielded, and the failure comes last, so every answer that was paid for comes out.

        Raises:
            CredentialsError: The key was refused.
            BackendError: The server failed for good; `retryable` tells whether it may work later.
            BudgetExceededError: The budget doesn't cover the next request.
        """
        rule = StopRule(has_answers=self._server.has_answered or bool(skip))
        failure: BaseException | None = None
        with contextlib.closing(self._finished(conversations, max_new_tokens, skip)) as coming:
            for index, future in coming:
                answer, error = _outcome(future)
                if answer is not None:
                    yield index, answer
                stop = error
                if error is None:
                    rule.answered()
                elif isinstance(error, NotSent):
                    continue
                elif isinstance(error, BackendError):
                    stop = rule.failed(error)
                if stop is not None:
                    failure = failure or stop
                    self._is_over.set()
        failure = failure or rule.at_end()
        if failure is not None:
            self._is_over.set()
            raise failure

    def _finished(
        self, conversations: Sequence[Conversation], max_new_tokens: int, skip: Collection[int]
    ) -> Generator[tuple[int, Future[tuple[Answer, FtsdkError | None]]]]:
        def work(index: int) -> tuple[Answer, FtsdkError | None]:
            return self._answer(index, conversations[index], max_new_tokens)

        wanted = (index for index in range(len(conversations)) if index not in skip)
        return finished(work, wanted, concurrency=self._concurrency, is_over=self._is_over)

    def _wait_unless_over(self, seconds: float) -> None:
        self._is_over.wait(seconds)

    def ask(
        self,
        conversation: Conversation,
        *,
        max_new_tokens: int,
        temperature: float | None = 0,
        response_format: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Reply:
        """Answer one conversation. Any number of threads may ask at once.

        Args:
            conversation: Messages up to the answer.
            max_new_tokens: Longest answer in tokens.
            temperature: None sends none, for models that refuse it; a server that says that it does gets none either.
            response_format: Sent as it is, for servers that hold answers to a JSON Schema.
            name: What is asked, for a note on errors; None adds none.

        Raises:
            CredentialsError: The key was refused.
            BackendError: The server failed, or refused the request; `retryable` tells whether it may work later.
            BudgetExceededError: The budget doesn't cover the request.
        """
        return self._ask(
            conversation,
            max_new_tokens,
            Bill(self._meter),
            temperature=temperature,
            fields={} if response_format is None else {"response_format": dict(response_format)},
            name=name,
        )

    def _ask(
        self,
        conversation: Conversation,
        max_new_tokens: int,
        bill: Bill,
        *,
        temperature: float | None = 0,
        fields: Mapping[str, Any],
        name: str | None,
    ) -> Reply:
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_any, stop_when_event_set

        if self._constraint is not None:
            held, least = constraint_fields(self._constraint, self._structured)
            fields, max_new_tokens = held | dict(fields), max(max_new_tokens, least)
        request = ChatRequest(
            model=self._model,
            conversation=conversation,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            fields=fields,
        )
        try:
            return Retrying(
                stop=stop_any(stop_after_attempt(self._attempts), stop_when_event_set(self._is_over)),
                wait=_wait_s,
                retry=retry_if_exception(lambda error: isinstance(error, BackendError) and error.retryable),
                sleep=self._sleep,
                reraise=True,
            )(self._server.answer, request, bill)
        except FtsdkError as error:
            if name is not None:
                error.add_note(f"while answering {name}")
            raise

    def _answer(self, index: int, conversation: Conversation, max_new_tokens: int) -> tuple[Answer, FtsdkError | None]:
        bill = Bill(self._meter)
        try:
            reply = self._ask(conversation, max_new_tokens, bill, fields={}, name=f"example {index + 1}")
        except NotSent:
            raise
        except FtsdkError as error:
            if not isinstance(error, BackendError) and not bill.usd:
                raise
            return Answer(text="", error=str(error), usd=bill.usd), error
        answer = Answer(
            text=unwrapped_choice(reply.text, self._constraint),
            is_cut=reply.is_cut,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            seconds=reply.seconds,
            usd=reply.usd,
        )
        return answer, None


def _outcome(
    future: Future[tuple[Answer, FtsdkError | None]],
) -> tuple[Answer | None, BaseException | None]:
    """Return the answer of a request and its error; a failure of more than one conversation has no answer."""
    error = future.exception()
    return (None, error) if error is not None else future.result()


def _wait_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    wanted_s = error.retry_after_s if isinstance(error, BackendError) else None
    return min(_LONGEST_WAIT_S, 2.0 ** min(state.attempt_number - 1, 10) if wanted_s is None else wanted_s)
