"""A router as an OpenAI-compatible address."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ftsdk.deploy.router.browser_guard import browser_guard
from ftsdk.deploy.router.incoming import route_request
from ftsdk.deploy.router.requests import ClientGone, Refusal, Routed, RouteRequest
from ftsdk.deploy.router.service import RouterService
from ftsdk.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["RouterServer", "serve_until_signal"]

_LARGEST_REQUEST = 16 << 20
_PATIENCE_S = 75.0
"""How long a client may take to send a request, or not read what it is sent, in seconds."""
_GRACE_S = 1.0
"""How long connections that were made just before the router was told to stop may still send their request."""


class _StreamSink:
    """Passes a stream on to a client."""

    def __init__(self, request: web.Request, request_id: str) -> None:
        self.response: web.StreamResponse | None = None
        self._request = request
        self._id = request_id

    async def begin(self, arm: str, fallback_reason: str | None) -> None:
        headers = {
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            **_marks(self._id, arm, fallback_reason),
        }
        self.response = web.StreamResponse(headers=headers)
        await self._guarded(self.response.prepare(self._request))

    async def write(self, raw: bytes) -> None:
        assert self.response is not None
        await self._guarded(self.response.write(raw))

    async def _guarded(self, sending: Any) -> None:
        try:
            await sending
        except (ConnectionError, RuntimeError):
            raise ClientGone from None


class RouterServer:
    """Listens at an address. It belongs to the router's event loop."""

    def __init__(self, service: RouterService, *, patience_s: float = _PATIENCE_S) -> None:
        """Note what answers.

        Args:
            service: The router.
            patience_s: How long a client may take to send a request, or not read what it is sent, in seconds.
        """
        self._service = service
        self._runner: web.AppRunner | None = None
        self._is_stopping = False
        self._patience_s = patience_s
        self.address = ""
        """Such as `http://127.0.0.1:8080/v1`."""

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Listen.

        Raises:
            SpecError: The port can't be used.
        """
        guard = browser_guard(host, refuse=_error)
        app = web.Application(client_max_size=_LARGEST_REQUEST, middlewares=[guard])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/feedback", self._feedback)
        app.router.add_get("/health", self._health)
        app.router.add_get("/status", self._status)
        app.router.add_get("/metrics", self._metrics)
        # It is the time for the headers, too: without it, a connection that never sends them stays for an hour.
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0, keepalive_timeout=self._patience_s
        )
        await runner.setup()
        site = web.TCPSite(runner, host, port, reuse_port=reuse_port or None, backlog=1024)
        try:
            await site.start()
        except (OSError, ValueError) as error:  # a name that no host can have
            await runner.cleanup()
            why = (isinstance(error, OSError) and error.strerror) or error
            raise SpecError(f"{host!r}, port {port}, can't be listened at: {why}") from error
        self._runner = runner
        found = runner.addresses[0]
        shown = f"[{found[0]}]" if ":" in found[0] else found[0]
        self.address = f"http://{shown}:{found[1]}/v1"

    async def stop(self) -> None:
        """Take no more requests, finish those in flight, and close."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        self._is_stopping = True
        for site in list(runner.sites):
            await site.stop()
        waiting_until = time.monotonic() + _GRACE_S
        finishing_until = time.monotonic() + self._service.config.timeout_s + _GRACE_S
        while time.monotonic() < (finishing_until if self._service.in_flight else waiting_until):
            await asyncio.sleep(0.02)
        await runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        response = await self._answer(request)
        if self._is_stopping:
            response.force_close()
        try:
            async with asyncio.timeout(self._patience_s):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            _hang_up(request)
        except (ConnectionError, RuntimeError):
            pass  # the client went away
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            body: Any = json.loads(await self._body(request))
            asked = route_request(
                body,
                conversation=request.headers.get("x-conversation-id"),
                slice_name=request.headers.get("x-ftsdk-slice"),
            )
        except (ValueError, RecursionError) as error:
            message = str(error) if isinstance(error, SpecError) else "the body isn't JSON"
            return _error(400, "invalid_request", message)
        except TimeoutError:
            return _too_slow()
        except web.HTTPRequestEntityTooLarge:
            return _error(413, "too_large", f"the body is larger than {_LARGEST_REQUEST >> 20} MiB")
        if body.get("stream"):
            return await self._stream(request, asked)
        try:
            routed = await self._service.answer(asked)
        except SpecError as error:
            return _error(503, "closed", str(error))
        if routed.refusal is not None:
            return _refused(routed, routed.refusal)
        assert routed.answer is not None
        record = routed.record
        return web.Response(
            body=routed.answer.body,
            headers={
                "Content-Type": "application/json",
                **_marks(record.id, record.arm or "", record.fallback_reason),
            },
        )

    async def _stream(self, request: web.Request, asked: RouteRequest) -> web.StreamResponse:
        sink = _StreamSink(request, asked.id)
        try:
            routed = await self._service.answer(asked, sink)
        except ClientGone:
            _hang_up(request)
            return sink.response or _error(499, "cancelled", "the client went away")
        response, refusal = sink.response, routed.refusal
        if response is None:
            assert refusal is not None
            return _refused(routed, refusal)
        try:
            async with asyncio.timeout(self._patience_s):
                # In the middle, an error: the client must not take it for whole.
                last = b"[DONE]" if refusal is None else json.dumps(_error_body(refusal.word, refusal.message)).encode()
                await response.write(b"data: " + last + b"\n\n")
        except TimeoutError:
            _hang_up(request)
        except (ConnectionError, RuntimeError):
            pass  # all that there is to send was sent
        return response

    async def _body(self, request: web.Request) -> bytes:
        """Return the body of a request.

        Raises:
            TimeoutError: It didn't come within the time.
        """
        async with asyncio.timeout(self._patience_s):
            return await request.read()

    async def _models(self, request: web.Request) -> web.Response:
        del request
        name = self._service.config.name
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model", "owned_by": "ftsdk"}]})

    async def _feedback(self, request: web.Request) -> web.Response:
        try:
            body: Any = json.loads(await self._body(request))
        except (ValueError, RecursionError):
            body = None
        except TimeoutError:
            return _too_slow()
        except web.HTTPRequestEntityTooLarge:
            return _error(413, "too_large", f"the body is larger than {_LARGEST_REQUEST >> 20} MiB")
        fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
        request_id, accepted, corrected = (fields.get(name) for name in ("id", "accepted", "corrected"))
        if not isinstance(request_id, str) or not isinstance(accepted, bool) or not isinstance(corrected, str | None):
            return _error(400, "invalid_request", 'feedback is {"id": "...", "accepted": true or false}')
        known = self._service.feedback(request_id, accepted=accepted, corrected=corrected)
        if known is None:
            return _error(404, "unknown_id", "no answer has this id, or it is too old for feedback")
        return web.json_response({"id": known, "accepted": accepted})

    async def _health(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"status": "ok", "at": time.time()})

    async def _status(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(self._service.status())

    async def _metrics(self, request: web.Request) -> web.Response:
        del request
        page = self._service.observers.metrics_page()
        if page is None:
            return _error(404, "no_metrics", "no observer of this router has metrics")
        content, kind = page
        return web.Response(body=content, headers={"Content-Type": kind})


def serve_until_signal(
    service: RouterService, *, host: str, port: int, on_ready: Callable[[str], None] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM, and finish what is in flight.

    Raises:
        SpecError: The port is taken, or another router uses the folder.
    """

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await service.start()
        server = RouterServer(service)
        try:
            await server.start(host, port)
            if on_ready is not None:
                on_ready(server.address)
            await stop.wait()
        finally:
            await server.stop()
            await service.close()

    asyncio.run(main())


def _hang_up(request: web.Request) -> None:
    """Close a connection without waiting for a client that doesn't read."""
    if request.transport is not None:
        request.transport.abort()


def _too_slow() -> web.Response:
    response = _error(408, "too_slow", "the body of the request didn't come in time")
    response.force_close()
    return response


def _marks(request_id: str, arm: str, fallback_reason: str | None) -> dict[str, str]:
    found = {"x-request-id": request_id, "x-ftsdk-arm": arm}
    if fallback_reason is not None:
        found["x-ftsdk-fallback"] = fallback_reason
    return found


def _refused(routed: Routed, refusal: Refusal) -> web.Response:
    headers = {"x-request-id": routed.record.id}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(refusal.retry_after_s))
    return _error(refusal.status, refusal.word, refusal.message, headers)


def _error(status: int, word: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(_error_body(word, message), status=status, headers=headers)


def _error_body(word: str, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "router_error", "code": word}}
