"""One request to one target: whole or as a stream, within a deadline, with a word for every way to fail."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ftsdk._secrets import check_key, redact, redact_logs, remove_keys
from ftsdk.errors import CredentialsError
from ftsdk.evals.chat_errors import message_in, seconds_to_wait
from ftsdk.evals.completion import completion_in
from ftsdk.evals.endpoint import Endpoint

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Piece", "TargetAnswer", "TargetFailure", "TargetWire"]

_LARGEST_BODY = 8 << 20
_CONNECT_S = 5.0
_IDLE_S = 4.0
"""Connections are kept for less than the 5 seconds after which many servers close theirs."""
_LONGEST_MESSAGE = 300


class TargetFailure(Exception):
    """A target gave no answer.

    Attributes:
        word: `timeout`, `rate_limited`, `server_error`, `connection`, `cut`, `invalid_answer`, `refused`, `credentials`
            or `busy`.
        status: The HTTP status, if there was one.
        message: What the target said, without keys.
        retry_after_s: Seconds to wait, if it said so.
        is_billable: Whether the target may bill something for it.
    """

    def __init__(
        self,
        word: str,
        *,
        status: int | None = None,
        message: str = "",
        retry_after_s: float | None = None,
        is_billable: bool = False,
    ) -> None:
        super().__init__(word)
        self.word = word
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s
        self.is_billable = is_billable

    @property
    def is_of_target(self) -> bool:
        """Whether it says that the target is in trouble, so that its breaker counts it."""
        return self.word not in ("refused", "busy")


@dataclass(slots=True)
class TargetAnswer:
    """An answer, or as much of it as has come."""

    text: str = ""
    finish_reason: str | None = None
    calls_tools: bool = False
    model: str | None = None
    native_id: str | None = None
    """The target's own id of the answer."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    body: bytes = b""
    """As it came; empty of a stream."""
    is_sent: bool = False
    """Whether the request has left, rather than waited for one of the endpoint's places."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a stream that is to be passed on as it is."""

    raw: bytes
    is_token: bool
    """Whether it has something of the answer."""
    is_usage: bool
    """Whether it has nothing but the count of tokens, which not every client has asked for."""


class TargetWire:
    """Connections to one target. It belongs to one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Read the key; connections are made when they are needed.

        Raises:
            CredentialsError: The environment variable isn't set, or what it holds can't be sent in a header.
        """
        self._endpoint = endpoint
        self._url = f"{endpoint.url}/chat/completions"
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        self._secrets: tuple[str, ...] = ()
        self._raw_keys: tuple[bytes, ...] = ()
        if endpoint.api_key_env is not None:
            key = check_key(os.environ.get(endpoint.api_key_env, ""), source=endpoint.api_key_env)
            if not key:
                raise CredentialsError(
                    f"the endpoint {endpoint.url} needs a key; set the environment variable {endpoint.api_key_env}"
                )
            redact_logs(key)
            self._secrets = (key,)
            self._raw_keys = tuple({key.encode(), json.dumps(key)[1:-1].encode(), key.replace("/", "\\/").encode()})
            self._headers["Authorization"] = f"Bearer {key}"
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(endpoint.concurrency)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def body_for(self, asked: Mapping[str, Any], *, streamed: bool) -> bytes:
        """Return a client's request in the target's words."""
        body = {**asked, "model": self._endpoint.model}
        limit = self._endpoint.limit_parameter
        if limit is not None:
            for other in ("max_tokens", "max_completion_tokens"):
                if other != limit and other in body:
                    body[limit] = body.pop(other)
        if not self._endpoint.sends_temperature:
            body.pop("temperature", None)
        if streamed:
            # Without it a stream says nothing of its tokens, and so of its cost.
            options = body.get("stream_options")
            body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        return json.dumps(body).encode()

    async def ask(self, body: bytes, answer: TargetAnswer) -> None:
        """Send a request and read the whole answer into `answer`. The caller sets the time limit.

        Raises:
            TargetFailure: There is none.
        """
        try:
            async with self._slots:
                answer.is_sent = True
                async with self._client().post(
                    self._url, data=body, headers=self._headers, allow_redirects=False
                ) as response:
                    content = await self._read(response)
                    if response.status != 200:
                        raise self._refusal(response, content)
                    _read_whole(self._without_key(content), answer)
                    return
        except Exception as error:  # noqa: BLE001 - sorted there
            failure = _sorted_out(error)
        # Out of the `except`: the client's error holds the request, and with it the key.
        raise failure

    async def stream(self, body: bytes, answer: TargetAnswer) -> AsyncGenerator[Piece]:
        """Send a request and yield its stream piece by piece, while `answer` is filled in.

        The caller sets the time limit, and closes the generator.

        Raises:
            TargetFailure: It broke off, or there is nothing.
        """
        try:
            async with self._slots:
                answer.is_sent = True
                async with self._client().post(
                    self._url, data=body, headers=self._headers, allow_redirects=False
                ) as response:
                    if response.status != 200:
                        raise self._refusal(response, await self._read(response))
                    if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                        raise TargetFailure("invalid_answer", status=200, is_billable=True)
                    async for piece in _pieces(response, answer, self._without_key):
                        yield piece
                    return
        except Exception as error:  # noqa: BLE001 - sorted there
            failure = _sorted_out(error)
        raise failure

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _without_key(self, content: bytes) -> bytes:
        """Return what the target sent without the router's key, which isn't the client's to know."""
        if not any(key in content for key in self._raw_keys):
            return content
        return remove_keys(content.decode("utf-8", "surrogateescape"), self._secrets).encode("utf-8", "surrogateescape")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if "Content-Encoding" in response.headers:  # nobody asked for it
            raise TargetFailure("invalid_answer", status=response.status, is_billable=response.status == 200)
        found = bytearray()
        async for chunk in response.content.iter_any():
            found += chunk
            if len(found) > _LARGEST_BODY:
                raise TargetFailure("invalid_answer", status=response.status, is_billable=response.status == 200)
        return bytes(found)

    def _refusal(self, response: aiohttp.ClientResponse, content: bytes) -> TargetFailure:
        status = response.status
        if status == 429:
            word = "rate_limited"
        elif status >= 500 or status in (408, 425):
            word = "server_error"
        elif status in (401, 402, 403):
            word = "credentials"
        elif 300 <= status < 400:
            word = "invalid_answer"
        else:
            word = "refused"
        return TargetFailure(
            word,
            status=status,
            message=redact(message_in(content), self._secrets, limit=_LONGEST_MESSAGE),
            retry_after_s=seconds_to_wait(response.headers.get("Retry-After"), time.time()),
        )


def _sorted_out(error: Exception) -> TargetFailure:
    """Return what went wrong, without the client's error: that holds the request, and with it the key."""
    import aiohttp

    match error:
        case TargetFailure():
            return error
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return TargetFailure("connection", message="no connection")
        case TimeoutError():
            return TargetFailure("timeout", is_billable=True)
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | OSError():
            return TargetFailure("connection", message="the connection broke off", is_billable=True)
        case aiohttp.ClientError() | ValueError() | KeyError() | TypeError():
            return TargetFailure("invalid_answer", is_billable=True)
        case _:
            return TargetFailure("invalid_answer", message=type(error).__name__, is_billable=True)


def _read_whole(content: bytes, answer: TargetAnswer) -> None:
    try:
        body: Any = json.loads(content)
        found = completion_in(body)
        choice = body["choices"][0]
        message = choice["message"]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        body = found = choice = message = None
    if found is None or choice is None or message is None or body is None:
        raise TargetFailure("invalid_answer", status=200, is_billable=True)
    answer.text = found.text
    answer.finish_reason = _text(choice.get("finish_reason"))
    answer.calls_tools = bool(message.get("tool_calls"))
    answer.model = _text(body.get("model"))
    answer.native_id = _text(body.get("id"))
    answer.input_tokens = found.input_tokens
    answer.output_tokens = found.output_tokens
    answer.body = content


def _text(value: object) -> str | None:
    return value[:200] if isinstance(value, str) else None


async def _pieces(
    response: aiohttp.ClientResponse, answer: TargetAnswer, cleaned: Callable[[bytes], bytes]
) -> AsyncGenerator[Piece]:
    """Cut a stream of server-sent events into events, clean each, and read it."""
    buffer = b""
    size = 0
    is_done = False
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > _LARGEST_BODY:
            raise TargetFailure("invalid_answer", status=200, is_billable=True)
        buffer = (buffer + chunk).replace(b"\r\n", b"\n")
        *events, buffer = buffer.split(b"\n\n")
        for event in map(cleaned, events):
            data = b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
            if data == b"[DONE]":
                is_done = True
                continue
            if data:
                yield _take(event + b"\n\n", data, answer)
    if not is_done and answer.finish_reason is None:
        raise TargetFailure("cut", status=200, is_billable=True)


def _take(raw: bytes, data: bytes, answer: TargetAnswer) -> Piece:
    """Add an event to an answer, and return it."""
    try:
        body: Any = json.loads(data)
        if not isinstance(body, dict):
            raise TypeError
    except (ValueError, TypeError, RecursionError):
        body = None
    if body is None:
        raise TargetFailure("invalid_answer", status=200, is_billable=True)
    fields = cast("dict[str, Any]", body)
    if fields.get("error"):
        raise TargetFailure("server_error", status=200, is_billable=True)
    answer.model = answer.model or _text(fields.get("model"))
    answer.native_id = answer.native_id or _text(fields.get("id"))
    usage: Any = fields.get("usage")
    if isinstance(usage, dict):
        for name, key in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
            count: Any = cast("dict[str, Any]", usage).get(key)
            if type(count) is int and 0 <= count < 10**9:
                setattr(answer, name, count)
    choices: Any = fields.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return Piece(raw, False, choices == [] and isinstance(usage, dict))
    choice = cast("dict[str, Any]", choices[0])
    answer.finish_reason = _text(choice.get("finish_reason")) or answer.finish_reason
    delta: Any = choice.get("delta")
    if not isinstance(delta, dict):
        return Piece(raw, False, False)
    parts = cast("dict[str, Any]", delta)
    text: Any = parts.get("content")
    if isinstance(text, str):
        answer.text += text
    if parts.get("tool_calls"):
        answer.calls_tools = True
    is_token = bool(text or parts.get("tool_calls") or parts.get("reasoning_content") or parts.get("reasoning"))
    return Piece(raw, is_token, False)
