"""HTTP requests whose answers are bounded in time and size, whatever the server does."""

from __future__ import annotations

import contextlib
import functools
import ssl
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx
    from anyio.from_thread import BlockingPortal

__all__ = ["AnswerTooLarge", "AnswerTooLate", "BoundedClient", "HttpAnswer", "NoConnection", "Unreachable"]

_CONNECT_S = 10.0


class AnswerTooLate(Exception):
    """The answer was not whole at the deadline."""


class AnswerTooLarge(Exception):
    """The answer has, announces or unpacks to more bytes than the limit."""


class Unreachable(Exception):
    """No HTTP answer came; the text is the kind of failure."""


class NoConnection(Unreachable):
    """No connection could be made, so nothing was sent."""


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Names are lower-case."""
    body: bytes
    """Decompressed; empty if it was too large and the status is an error."""


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Return the certificates that are trusted: reading them takes longer than many an answer."""
    import httpx

    return httpx.create_ssl_context()


class BoundedClient:
    """A client for any number of threads.

    The timeouts of `httpx` are for each read, so a server that sends a byte now and then never meets them, neither in
    the headers nor in the body. Here requests run in an event loop, in a thread of its own, and one deadline ends all.

    Args:
        headers: Sent with each request.
        timeout_s: Longest time for one answer, from the request to its last byte, in seconds.
        connections: Most requests in flight at once.
        most_bytes: Largest body, in bytes, compressed or not.
    """

    def __init__(self, *, headers: Mapping[str, str], timeout_s: float, connections: int, most_bytes: int) -> None:
        self._headers = {"Accept-Encoding": "identity", **headers}
        self._timeout_s = timeout_s
        self._connections = connections
        self._most_bytes = most_bytes
        self._stack = contextlib.ExitStack()
        self._running: tuple[BlockingPortal, httpx.AsyncClient] | None = None
        self._lock = threading.Lock()

    def post(self, url: str, content: bytes) -> HttpAnswer:
        """Send JSON and return the answer.

        Raises:
            AnswerTooLate: It was not whole at the deadline.
            AnswerTooLarge: It exceeds the limit, and its status is 200.
            NoConnection: Nothing was sent.
            Unreachable: There was none.
        """
        portal, client = self._start()
        return portal.call(self._post, client, url, content)

    def close(self) -> None:
        """Close the connections; requests in flight are cancelled."""
        with self._lock:
            if self._running is not None:
                portal, client = self._running
                self._running = None
                with contextlib.suppress(RuntimeError):  # the loop is gone
                    portal.call(client.aclose)
                    portal.call(portal.stop, True)
            self._stack.close()

    def _start(self) -> tuple[BlockingPortal, httpx.AsyncClient]:
        with self._lock:
            if self._running is None:
                import httpx
                from anyio.from_thread import start_blocking_portal

                portal = self._stack.enter_context(start_blocking_portal())
                client = httpx.AsyncClient(
                    headers=self._headers,
                    verify=_certificates(),
                    timeout=httpx.Timeout(self._timeout_s, connect=min(self._timeout_s, _CONNECT_S), pool=None),
                    limits=httpx.Limits(max_connections=self._connections, max_keepalive_connections=self._connections),
                )
                self._running = portal, client
            return self._running

    async def _post(self, client: httpx.AsyncClient, url: str, content: bytes) -> HttpAnswer:
        import anyio
        import httpx

        failure: Exception
        try:
            with anyio.fail_after(self._timeout_s):
                async with client.stream(
                    "POST", url, content=content, headers={"Content-Type": "application/json"}
                ) as response:
                    return await self._read(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            failure = NoConnection(type(error).__name__)
        except (TimeoutError, httpx.TimeoutException) as error:
            failure = AnswerTooLate(type(error).__name__)
        except (httpx.HTTPError, UnicodeError) as error:
            failure = Unreachable(type(error).__name__)
        # Out of the `except`: the client's error holds the request, and with it the key, and what the server sent.
        raise failure

    async def _read(self, response: httpx.Response) -> HttpAnswer:
        body = bytearray()
        try:
            announced = response.headers.get("Content-Length", "0")
            if announced.isdecimal() and (len(announced) > 20 or int(announced) > self._most_bytes):
                raise AnswerTooLarge
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._most_bytes:
                    raise AnswerTooLarge
            content = self._decompressed(bytes(body), response.headers.get("Content-Encoding", ""))
        except AnswerTooLarge:
            if response.status_code == 200:
                raise
            content = b""  # the status is enough
        return HttpAnswer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=content,
        )

    def _decompressed(self, body: bytes, encoding: str) -> bytes:
        """Return the body as it was before a server compressed it without being asked to."""
        if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
            return body
        unpacker = zlib.decompressobj(wbits=47)  # gzip or zlib
        try:
            content = unpacker.decompress(body, self._most_bytes)
        except zlib.error:
            return b""  # what can't be read isn't JSON
        if unpacker.unconsumed_tail:
            raise AnswerTooLarge
        return content
