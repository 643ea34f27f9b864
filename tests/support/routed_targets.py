"""A target on loopback that answers, or fails, as it is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from ftsdk import Endpoint, TokenPrice

__all__ = ["Target", "completion"]


def completion(text: str = "fine", *, finish: str = "stop", tokens: tuple[int, int] = (10, 5)) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
        },
    }


@dataclass
class Target:
    """Serves `/v1/chat/completions` in a thread. `behaviour` may be changed at any time.

    A behaviour is `ok`, an HTTP status, or `hang`, `drip`, `reset`, `garbage`, `empty`, `cut`, `cut_stream`,
    `silent_stream`, `error_stream` or `no_stream`; or a function of the request's body that returns one of these or a
    whole answer.
    """

    behaviour: Any = "ok"
    text: str = "fine"
    delay_s: float = 0.0
    retry_after: str | None = None
    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    in_flight: int = 0

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def endpoint(self, model: str = "m", **options: Any) -> Endpoint:
        options.setdefault("concurrency", 64)
        return Endpoint(url=self.url, model=model, **options)

    def priced(self, model: str = "m", **options: Any) -> Endpoint:
        price = TokenPrice(input_usd_per_mtok=1_000, output_usd_per_mtok=2_000)
        return self.endpoint(model, price=price, **options)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        self.in_flight += 1
        try:
            return await self._behave(request, body)
        finally:
            self.in_flight -= 1

    async def _behave(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        told = self.behaviour
        if isinstance(told, Callable):
            told = told(body)
        if isinstance(told, dict):
            return web.json_response(told)
        if isinstance(told, int):
            headers = {"Retry-After": self.retry_after} if self.retry_after else None
            error = {"error": {"message": f"no: {request.headers.get('Authorization', '')}"}}
            return web.json_response(error, status=told, headers=headers)
        if told == "hang":
            await asyncio.sleep(3600)
        if told == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if told == "garbage":
            return web.Response(text="<html>", content_type="application/json")
        if told == "empty":
            return web.json_response(completion(""))
        if told == "cut":
            return web.json_response(completion("half an ans", finish="length"))
        if not body.get("stream") or told == "no_stream":
            return await self._drip(request) if told == "drip" else web.json_response(completion(self.text))
        return await self._stream(request, told)

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:  # a byte now and then, for ever
            await response.write(b" ")
            await asyncio.sleep(0.02)

    async def _stream(self, request: web.Request, told: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def event(delta: dict[str, Any], finish: str | None = None) -> None:
            data = {
                "id": "chatcmpl-1",
                "model": "m",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            }
            await response.write(f"data: {json.dumps(data)}\n\n".encode())

        await event({"role": "assistant"})
        if told == "silent_stream":
            await asyncio.sleep(3600)
        if told == "error_stream":
            await response.write(b'data: {"error": {"message": "overloaded"}}\n\n')
            return response
        for number, word in enumerate(self.text.split()):
            await event({"content": word if number == 0 else f" {word}"})
            if told == "cut_stream":
                assert request.transport is not None
                request.transport.abort()
                return response
        await event({}, "stop")
        usage = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
        await response.write(f"data: {json.dumps(usage)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response
