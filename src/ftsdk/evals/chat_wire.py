"""The wire to an OpenAI-compatible server: many conversations at once, answers in order, failures in our words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from ftsdk.errors import BackendError, CredentialsError, FtsdkError
from ftsdk.evals.generation import Conversation

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

__all__ = ["ChatWire", "answer_in", "error_of", "seconds_to_wait"]

_PASSING = frozenset({408, 425, 429})
"""Statuses that may be gone at the next try, besides every 5xx."""
_LONGEST_WAIT_S = 60.0
_ADVICE = {
    400: "check the model's name, and that prompt and max_new_tokens fit into its context",
    402: "the account has no money or is over its limit: see the provider's billing page",
    404: "check the url (it ends with the version, such as '/v1') and the model's name, and that the model is deployed and ready",
    413: "the prompt is too long for the server",
    422: "check the model's name, and that prompt and max_new_tokens fit into its context",
}


class ChatWire:
    """A connection to one server; fits `Generator`. Temperature is 0, so answers are as stable as the server makes them."""

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
        """Connect.

        Args:
            url: Up to and including the version.
            model: What the server calls the model.
            key: Sent as bearer token; None sends none.
            key_name: The environment variable that the key is from, for messages.
            concurrency: The most requests in flight at once.
            timeout_s: Seconds for one answer.
            attempts: How often a request is sent before its failure counts.
            clock: Seconds since the epoch, to read a date in `Retry-After`.
            sleep: Waits for some seconds. None waits, but no longer than until another request has failed for good.
        """
        import httpx

        self._url = url
        self._model = model
        self._key = key
        self._key_name = key_name
        self._concurrency = concurrency
        self._attempts = attempts
        self._clock = clock
        self._is_over = threading.Event()
        self._sleep = sleep or self._wait_unless_over
        self._client = httpx.Client(
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
        )

    def __repr__(self) -> str:
        return f"ChatWire(url={self._url!r}, model={self._model!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._client.close()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Bound the tokens of each text from above: its bytes in UTF-8.

        There is no tokenizer here. A token stands for at least a byte, so an answer that may have this many tokens is never cut
        before a reference of this text ends; an answer that rambles costs more than with a tokenizer at hand.
        """
        return [len(text.encode("utf-8", "replace")) for text in texts]

    def generate(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int, on_progress: Callable[[int, int], None] | None = None
    ) -> list[str]:
        """Answer every conversation; see `Generator.generate`.

        Raises:
            CredentialsError: The key was refused.
            BackendError: The server failed, or refused the request; `retryable` says whether it may work later.
        """
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="ftsdk-chat")
        is_patient = True
        try:
            futures = [pool.submit(self._answer, index, conversation, max_new_tokens) for index, conversation in enumerate(conversations)]
            self._watch(futures, on_progress)
            return [future.result() for future in futures]
        except BaseException as error:
            self._is_over.set()  # nobody needs the rest
            # What is in flight is waited for, so that the connections close well, but not by somebody at a keyboard.
            is_patient = isinstance(error, Exception)
            raise
        finally:
            pool.shutdown(wait=is_patient, cancel_futures=True)

    def _wait_unless_over(self, seconds: float) -> None:
        self._is_over.wait(seconds)

    @staticmethod
    def _watch(futures: list[Future[str]], on_progress: Callable[[int, int], None] | None) -> None:
        left: set[Future[str]] = set(futures)
        while left:
            # A failure ends the wait at once; otherwise a look now and then is enough to show how far it is.
            done, left = wait(left, timeout=0.2, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            if on_progress is not None and done:
                on_progress(len(futures) - len(left), len(futures))

    def _answer(self, index: int, conversation: Conversation, max_new_tokens: int) -> str:
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_any, stop_when_event_set

        request = {"model": self._model, "messages": list(conversation), "max_tokens": max_new_tokens, "temperature": 0}
        try:
            return Retrying(
                stop=stop_any(stop_after_attempt(self._attempts), stop_when_event_set(self._is_over)),
                wait=_wait_s,
                retry=retry_if_exception(lambda error: isinstance(error, BackendError) and error.retryable),
                sleep=self._sleep,
                reraise=True,
            )(self._ask, request)
        except FtsdkError as error:
            error.add_note(f"while answering example {index + 1}")
            raise

    def _ask(self, request: Mapping[str, Any]) -> str:
        import httpx

        if self._is_over.is_set():
            raise BackendError("not asked: another request has failed for good")
        try:
            response = self._client.post(f"{self._url}/chat/completions", json=request)
        except httpx.TimeoutException as error:
            raise BackendError(
                f"no answer from {self._url} in time ({type(error).__name__}); raise timeout_s or ask later", retryable=True
            ) from error
        except httpx.HTTPError as error:
            raise BackendError(f"can't reach {self._url} ({type(error).__name__}); check the url and the network", retryable=True) from error
        if response.status_code != 200:
            raise self._refusal(response)
        try:
            return answer_in(response.json())
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise BackendError(
                f"{self._url} answered with something else than a chat completion; check the url (it ends with the version, such as '/v1')",
                status_code=200,
            ) from error

    def _refusal(self, response: httpx.Response) -> FtsdkError:
        said = _message_in(response)
        if self._key is not None:
            said = said.replace(self._key, "***")
        wait_s = seconds_to_wait(response.headers.get("Retry-After"), self._clock())
        return error_of(response.status_code, said, where=self._url, key_name=self._key_name, retry_after_s=wait_s)


def error_of(status: int, said: str, *, where: str, key_name: str = "", retry_after_s: float | None = None) -> FtsdkError:
    """Turn a status into one of our errors.

    Args:
        status: The HTTP status, not 200.
        said: The server's own words, without secrets.
        where: The address, for people.
        key_name: The environment variable that the key is from.
        retry_after_s: Seconds that the server asks us to wait.
    """
    words = f": {said}" if said else ""
    if status in (401, 403):
        next_step = f"check the environment variable {key_name}" if key_name else "it wants a key: Endpoint(api_key_env='...')"
        return CredentialsError(f"{where} refused the key (HTTP {status}){words}; {next_step}")
    if status in _PASSING or status >= 500:
        return BackendError(
            f"{where} can't answer now (HTTP {status}){words}; try later, or with less concurrency",
            retryable=True,
            retry_after_s=retry_after_s,
            status_code=status,
        )
    advice = _ADVICE.get(status, "check the url and the request")
    return BackendError(f"{where} refused the request (HTTP {status}){words}; {advice}", status_code=status)


def seconds_to_wait(retry_after: str | None, now: float) -> float | None:
    """Read a `Retry-After` header: seconds, or a date. None if there is none or it can't be read."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except ValueError:
        return None


def answer_in(completion: Any) -> str:
    """Give the text of the first choice; a choice without text, such as a call of a tool, is an empty answer."""
    content = completion["choices"][0]["message"]["content"]
    if content is not None and not isinstance(content, str):
        raise TypeError("the answer isn't text")
    return content or ""


def _wait_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after_s if isinstance(error, BackendError) else None
    return min(_LONGEST_WAIT_S, float(2 ** (state.attempt_number - 1)) if asked is None else asked)


def _message_in(response: httpx.Response) -> str:
    """Find the server's own words; a page of HTML says nothing that helps."""
    try:
        body: Any = response.json()
    except ValueError:
        return ""
    found: Any = body.get("error", body) if isinstance(body, dict) else ""
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail") or ""
    return str(found)[:500] if isinstance(found, str) else ""
