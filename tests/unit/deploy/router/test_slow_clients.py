"""Clients that are slow, half open, or send too much: each costs itself an answer, and nobody else."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from routed_targets import Target

from ftsdk import FtsdkError, Router
from ftsdk.deploy.router.breaker import BreakerRule
from ftsdk.deploy.router.records import read_records
from ftsdk.deploy.router.server import RouterServer
from ftsdk.deploy.router.service import RouterService

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
BODY = json.dumps({"messages": MESSAGES}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def serving(router: Router, *, patience_s: float) -> AsyncGenerator[tuple[RouterService, str, int]]:
    service = RouterService(router.config)
    await service.start()
    server = RouterServer(service, patience_s=patience_s)
    await server.start("127.0.0.1", 0)
    try:
        yield service, server.address, int(server.address.rpartition(":")[2].partition("/")[0])
    finally:
        await server.stop()
        await service.close()


async def post(address: str, **body: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{address}/chat/completions",
            data=io.BytesIO(json.dumps({"messages": MESSAGES, **body}).encode()),
            headers={"Content-Type": "application/json"},
        ) as response,
    ):
        return response.status, await response.json()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def test_headers_that_never_end_are_hung_up_on_and_others_are_answered(tuned: Target, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(Router(tuned.endpoint(), folder=tmp_path), patience_s=0.5) as (_, address, port):
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
            for _, writer in held:
                writer.write(HEAD + b"X-Slow: ")
            assert (await post(address))[0] == 200
            for _ in range(3):  # a byte now and then buys no time
                await asyncio.sleep(0.1)
                for _, writer in held:
                    writer.write(b"x")
            ends = await asyncio.wait_for(asyncio.gather(*(_end(reader) for reader, _ in held)), 30)
            assert set(ends) == {b""}
            for _, writer in held:
                writer.close()

    run(main)
    assert len(tuned.asked) == 1


async def _end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


def test_a_body_that_never_comes_is_an_error_of_its_own(tuned: Target, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(Router(tuned.endpoint(), folder=tmp_path), patience_s=0.4) as (_, address, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"Content-Length: 500\r\n\r\n" + BODY[:10])
            assert (await post(address))[0] == 200
            found = await asyncio.wait_for(reader.read(), 30)
            assert found.startswith(b"HTTP/1.1 408")
            assert b'"too_slow"' in found
            writer.close()

    run(main)
    assert len(tuned.asked) == 1


def test_clients_that_do_not_read_their_stream_open_no_breaker(tuned: Target, tmp_path: Path) -> None:
    tuned.text = " ".join(["x" * 700_000] * 10)

    async def main() -> None:
        rule = BreakerRule(failures=1, cooldown_s=60)
        router = Router(tuned.endpoint(), folder=tmp_path, timeout_s=5.0, breaker=rule)
        async with serving(router, patience_s=5.0) as (service, address, port):
            body = json.dumps({"messages": MESSAGES, "stream": True}).encode()
            held: list[socket.socket] = []
            for _ in range(3):
                client = socket.socket()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
                await asyncio.get_running_loop().sock_sendall(
                    client, HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
                )
                held.append(client)
            async with asyncio.timeout(120):
                while service.in_flight < 3:
                    await asyncio.sleep(0.01)
                while service.in_flight:
                    await asyncio.sleep(0.01)
            assert service.status()["targets"]["tuned"]["breaker"] == "closed"
            tuned.text = "fine"
            assert (await post(address))[1]["choices"][0]["message"]["content"] == "fine"
            for client in held:
                client.close()

    run(main)
    outcomes = [line["outcome"] for line in read_records(tmp_path) if line["kind"] == "answer"]
    assert sorted(outcomes) == ["answered", "cancelled", "cancelled", "cancelled"]


def test_what_is_too_large_or_too_deep_is_refused_in_words(tuned: Target, tmp_path: Path) -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    wide = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": ["x" * 300_000]}}}

    async def main() -> None:
        async with serving(Router(tuned.endpoint(), folder=tmp_path), patience_s=5) as (_, address, port):
            found = [await post(address, **odd) for odd in ({"tools": deep}, {"response_format": wide})]
            found.append(await post(address, user="x" * (17 << 20)))
            assert [status for status, _ in found] == [400, 400, 413]
            assert ["deeper" in found[0][1]["error"]["message"], "256 KiB" in found[1][1]["error"]["message"]] == [
                True
            ] * 2
            assert found[2][1]["error"]["code"] == "too_large"
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"X-Large: " + b"x" * 100_000 + b"\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.0 400")
            writer.close()

    run(main)
    assert tuned.asked == []


@pytest.mark.parametrize("kind", ["references", "pattern"])
def test_a_schema_that_takes_for_ever_holds_nobody_up(
    kind: str, tuned: Target, frontier: Target, tmp_path: Path
) -> None:
    tuned.text = json.dumps("a" * 60 + "b")
    if kind == "references":
        definitions = {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(40)}
        schema: dict[str, Any] = {"$defs": {**definitions, "40": True}, "$ref": "#/$defs/0"}
    else:
        schema = {"allOf": [{"pattern": "^(a+)+$"}] * 50}
    asked = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    with Router(tuned.endpoint(), fallback=frontier.endpoint(), folder=tmp_path) as router:
        assert router.complete("Where?").text == tuned.text
        router_is_free_after_s = _seconds(lambda: router.complete("Where?", response_format=asked))
    assert router_is_free_after_s < 5


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    with pytest.raises(FtsdkError):
        call()
    return time.process_time() - start
