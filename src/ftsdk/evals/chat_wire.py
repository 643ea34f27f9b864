"""A client of OpenAI-compatible servers: many conversations at once, with retries and our errors."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from ftsdk._secrets import check_key, redact, redact_logs, remove_keys
from ftsdk.errors import BackendError, CredentialsError, FtsdkError
from ftsdk.evals.answers import Answer
from ftsdk.evals.bounded_http import AnswerTooLarge, AnswerTooLate, BoundedClient, HttpAnswer, Unreachable
from ftsdk.evals.generation import Conversation, tools_of
from ftsdk.spec.amounts import check_amount

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = ["ChatWire", "Reply", "answer_in", "error_of", "seconds_to_wait"]

_TEMPORARY = frozenset({408, 425, 429})
"""Statuses that are worth a retry, besides every 5xx."""
_LONGEST_WAIT_S = 60.0
_LARGEST_BODY = 4 << 20
"""Bytes; more than any answer, and small enough to hold for each request in flight."""
_MOST_TOKENS = 10**9
"""No request has as many."""
_LONGEST_MESSAGE = 500
"""Characters of a server's message that are shown."""
_ADVICE = {
    400: "check the model's name, and that prompt and max_new_tokens fit into its context",
    402: "the account is out of credit or over its limit; see the provider's billing page",
    404: (
        "check the url (it ends with the version, such as '/v1') and the model's name, and that the model is deployed "
        "and ready"
    ),
    413: "the prompt is too long for the server",
    422: "check the model's name, and that prompt and max_new_tokens fit into its context",
}


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
        self._url = url
        self._model = model
        self._secrets = () if key is None else (key,)
        self._key_name = key_name
        self._concurrency = concurrency
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._clock = clock
        self._is_over = threading.Event()
        self._sleep = sleep or self._wait_unless_over
        self._client = BoundedClient(
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout_s=timeout_s,
            connections=concurrency,
            most_bytes=_LARGEST_BODY,
        )

    def __repr__(self) -> str:
        return f"ChatWire(url={self._url!r}, model={self._model!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._client.close()

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
        """Answer every conversation; see `Generator.generate`.

        Raises:
            CredentialsError: The key was refused.
            BackendError: The server failed, or refused the request; `retryable` tells whether it may work later.
        """
        outputs = [""] * len(conversations)
        for done, (index, answer) in enumerate(self.stream(conversations, max_new_tokens=max_new_tokens), start=1):
            outputs[index] = answer.text
            if on_progress is not None:
                on_progress(done, len(conversations))
        return outputs

    def stream(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int, skip: Collection[int] = frozenset()
    ) -> Generator[tuple[int, Answer]]:
        """Yield the answers as they come; see `CanStream.stream`.

        When a request has failed for good, no more are sent, the answers to those in flight are still yielded, and
        then the failure is raised: every answer that was paid for comes out.

        Raises:
            CredentialsError: The key was refused.
            BackendError: The server failed, or refused the request; `retryable` tells whether it may work later.
        """
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="ftsdk-chat")
        finished: SimpleQueue[tuple[int, Future[Answer]]] = SimpleQueue()
        futures: list[Future[Answer]] = []
        failure: BaseException | None = None
        is_patient = False
        try:
            for index, conversation in enumerate(conversations):
                if index not in skip:
                    future = pool.submit(self._answer, index, conversation, max_new_tokens)
                    future.add_done_callback(lambda future, index=index: finished.put((index, future)))
                    futures.append(future)
            for _ in range(len(futures)):
                index, future = finished.get()
                if future.cancelled():
                    continue
                error = future.exception()
                if error is None:
                    yield index, future.result()
                elif failure is None:
                    failure = error
                    self._is_over.set()
                    for other in futures:
                        other.cancel()  # those in flight go on
            is_patient = True
            if failure is not None:
                raise failure
        finally:
            if not is_patient or failure is not None:
                self._is_over.set()
            # Wait for what is in flight, so that connections close cleanly, but not on Ctrl-C.
            pool.shutdown(wait=is_patient, cancel_futures=True)

    def _wait_unless_over(self, seconds: float) -> None:
        self._is_over.wait(seconds)

    def ask(
        self, conversation: Conversation, *, max_new_tokens: int, temperature: float | None = 0, name: str | None = None
    ) -> Reply:
        """Answer one conversation. Any number of threads may ask at once.

        Args:
            conversation: Messages up to the answer.
            max_new_tokens: Longest answer in tokens.
            temperature: None sends none, for models that refuse it.
            name: What is asked, for a note on errors; None adds none.

        Raises:
            CredentialsError: The key was refused.
            BackendError: The server failed, or refused the request; `retryable` tells whether it may work later.
        """
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_any, stop_when_event_set

        request: dict[str, Any] = {"model": self._model, "messages": list(conversation), "max_tokens": max_new_tokens}
        if temperature is not None:
            request["temperature"] = temperature
        if tools := tools_of(conversation):
            request["tools"] = list(tools)
        try:
            return Retrying(
                stop=stop_any(stop_after_attempt(self._attempts), stop_when_event_set(self._is_over)),
                wait=_wait_s,
                retry=retry_if_exception(lambda error: isinstance(error, BackendError) and error.retryable),
                sleep=self._sleep,
                reraise=True,
            )(self._send, json.dumps(request).encode())
        except FtsdkError as error:
            if name is not None:
                error.add_note(f"while answering {name}")
            raise

    def _answer(self, index: int, conversation: Conversation, max_new_tokens: int) -> Answer:
        started = time.monotonic()
        reply = self.ask(conversation, max_new_tokens=max_new_tokens, name=f"example {index + 1}")
        return Answer(
            text=reply.text,
            is_cut=reply.is_cut,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            seconds=time.monotonic() - started,
        )

    def _send(self, request: bytes) -> Reply:
        if self._is_over.is_set():
            raise BackendError("not sent: another request has failed for good")
        try:
            answer = self._client.post(f"{self._url}/chat/completions", request)
        except AnswerTooLate as error:
            raise BackendError(
                f"no answer from {self._url} within {self._timeout_s:g} s ({error}); raise timeout_s or try later",
                retryable=True,
            ) from error
        except AnswerTooLarge as error:
            limit = f"{_LARGEST_BODY >> 20} MiB"
            raise BackendError(
                f"{self._url} sent more than {limit} for one answer; check the url", status_code=200
            ) from error
        except Unreachable as error:
            message = f"can't reach {self._url} ({error}); check the url and the network"
            raise BackendError(message, retryable=True) from error
        if answer.status != 200:
            raise self._refusal(answer)
        try:
            return self._reply_in(json.loads(answer.body))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            message = (
                f"{self._url} did not answer with a chat completion ({type(error).__name__}); check the url (it ends "
                "with the version, such as '/v1')"
            )
        # Out of the `except`: the parser's error holds what the server sent, which may repeat the key.
        raise BackendError(message, status_code=200)

    def _reply_in(self, completion: Any) -> Reply:
        text = remove_keys(answer_in(completion), self._secrets)
        given, taken = _usage_in(completion)
        is_cut = completion["choices"][0].get("finish_reason") == "length"
        return Reply(text=text, input_tokens=given, output_tokens=taken, is_cut=is_cut)

    def _refusal(self, answer: HttpAnswer) -> FtsdkError:
        message = redact(_message_in(answer.body), self._secrets, limit=_LONGEST_MESSAGE)
        wait_s = seconds_to_wait(answer.headers.get("retry-after"), self._clock())
        return error_of(answer.status, message, address=self._url, key_name=self._key_name, retry_after_s=wait_s)


def error_of(
    status: int, message: str, *, address: str, key_name: str = "", retry_after_s: float | None = None
) -> FtsdkError:
    """Return our error for an HTTP status.

    Args:
        status: The HTTP status, not 200.
        message: The server's message, redacted.
        address: The server, for the message.
        key_name: The environment variable that held the key.
        retry_after_s: Seconds to wait, from `Retry-After`.
    """
    detail = f": {message}" if message else ""
    if status in (401, 403):
        next_step = (
            f"check the environment variable {key_name}"
            if key_name
            else "the server needs a key: Endpoint(api_key_env='...')"
        )
        return CredentialsError(f"{address} refused the key (HTTP {status}){detail}; {next_step}")
    if status in _TEMPORARY or status >= 500:
        return BackendError(
            f"{address} can't answer now (HTTP {status}){detail}; try later, or with less concurrency",
            retryable=True,
            retry_after_s=retry_after_s,
            status_code=status,
        )
    advice = _ADVICE.get(status, "check the url and the request")
    return BackendError(f"{address} refused the request (HTTP {status}){detail}; {advice}", status_code=status)


def seconds_to_wait(retry_after: str | None, now: float) -> float | None:
    """Return the seconds in a `Retry-After` header, a number or a date; None if there is none or it can't be read."""
    if not retry_after:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(retry_after)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def answer_in(completion: Any) -> str:
    """Return the text of the first choice; empty for a choice without text, such as a tool call."""
    content = completion["choices"][0]["message"]["content"]
    if content is not None and not isinstance(content, str):
        raise TypeError("the content of the message isn't text")
    return content or ""


def _usage_in(completion: Any) -> tuple[int | None, int | None]:
    """Return the tokens of prompt and answer that a server reports; None for what isn't a count."""
    usage = completion.get("usage")
    if not isinstance(usage, dict):
        return None, None
    given, taken = (usage.get(name) for name in ("prompt_tokens", "completion_tokens"))
    return (
        given if type(given) is int and 0 <= given <= _MOST_TOKENS else None,
        taken if type(taken) is int and 0 <= taken <= _MOST_TOKENS else None,
    )


def _wait_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    wanted_s = error.retry_after_s if isinstance(error, BackendError) else None
    return min(_LONGEST_WAIT_S, float(2 ** (state.attempt_number - 1)) if wanted_s is None else wanted_s)


def _message_in(content: bytes) -> str:
    """Return the server's error message, as it came; empty for anything but JSON, such as a page of HTML."""
    try:
        body: Any = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    found: Any = body.get("error", body) if isinstance(body, dict) else ""
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail") or ""
    return found if isinstance(found, str) else ""
