"""What a router adds to a request: latency at 16 at once, requests a second, and CPU time for each request.

One stub answers behind all of them; direct calls, ftsdk's router and (with `--litellm`) LiteLLM's proxy take turns in
rounds. Every process runs one thread of Python on this machine, whose load moves wall times: the CPU time of the
router's own process, from the kernel, hardly moves.

    python benchmarks/bench_router.py --requests 2000 --rounds 5 --litellm /tmp/llm/bin/litellm
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import aiohttp

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "shipping"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 120, "completion_tokens": 2, "total_tokens": 122},
    }
).encode()
BODY = json.dumps(
    {
        "model": "route",
        "max_tokens": 16,
        "messages": [
            {"role": "system", "content": "Classify."},
            {"role": "user", "content": "Where is my parcel? " * 20},
        ],
    }
).encode()


class Stub(asyncio.Protocol):
    """The least that answers HTTP: it must not be what is measured."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s, self.buffer = delay_s, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            asyncio.get_running_loop().call_later(self.delay_s, self.answer)

    def answer(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
        if not self.transport.is_closing():
            self.transport.write(head + ANSWER)  # type: ignore[attr-defined]


async def serve_stub(port: int, delay_s: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Stub(delay_s), "127.0.0.1", port)
    await server.serve_forever()


async def ask(address: str, requests: int, at_once: int) -> tuple[list[float], float]:
    latencies: list[float] = []
    left = iter(range(requests))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def worker() -> None:
            for _ in left:
                started = time.perf_counter()
                async with session.post(
                    f"{address}/chat/completions", data=BODY, headers={"Content-Type": "application/json"}
                ) as response:
                    body = await response.json()
                    assert response.status == 200, body
                    assert body["choices"][0]["message"]["content"] == "shipping"
                latencies.append(time.perf_counter() - started)

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(at_once)))
        return latencies, time.perf_counter() - started


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its children that have it as parent."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int, process: subprocess.Popen[bytes], timeout_s: float = 240.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"nobody listens at {port}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--delay-s", type=float, default=0.0, help="of the stub")
    parser.add_argument("--litellm", help="the program litellm of an environment of its own")
    parser.add_argument("--stub", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stub:
        asyncio.run(serve_stub(asked.stub, asked.delay_s))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def start(name: str, command: list[str], port: int, **environment: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
            stack.callback(process.wait)
            stack.callback(process.terminate)
            try:
                wait_for(port, process)
            except SystemExit:
                print((folder / f"{name}.log").read_text()[-3000:])
                raise
            return process

        stub_port, route_port = free_port(), free_port()
        start("stub", [sys.executable, __file__, "--stub", str(stub_port), "--delay-s", str(asked.delay_s)], stub_port)
        target = {"url": f"http://127.0.0.1:{stub_port}/v1", "model": "m", "concurrency": 256}
        file = folder / "route.yaml"
        file.write_text(json.dumps({"targets": {"tuned": target}, "fallback": {"frontier": target}, "folder": "state"}))
        router = start(
            "router", [sys.executable, "-m", "ftsdk", "route", str(file), "--port", str(route_port)], route_port
        )
        servers: dict[str, tuple[str, int | None]] = {
            "direct": (f"http://127.0.0.1:{stub_port}/v1", None),
            "ftsdk": (f"http://127.0.0.1:{route_port}/v1", router.pid),
        }
        if asked.litellm:
            port = free_port()
            config = folder / "litellm.yaml"
            config.write_text(
                json.dumps(
                    {
                        "model_list": [
                            {
                                "model_name": "route",
                                "litellm_params": {"model": "openai/m", "api_base": target["url"], "api_key": "none"},
                            }
                        ],
                        "router_settings": {"num_retries": 0},
                        "litellm_settings": {"telemetry": False},
                        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
                    }
                )
            )
            command = [asked.litellm, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
            started = start("litellm", command, port, LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="ERROR")
            servers["litellm"] = (f"http://127.0.0.1:{port}/v1", started.pid)
        for address, _ in servers.values():
            asyncio.run(ask(address, 100, asked.at_once))
        found: dict[str, dict[str, list[float]]] = {
            name: {"median": [], "p99": [], "rate": [], "cpu": []} for name in servers
        }
        for _ in range(asked.rounds):
            for name, (address, pid) in servers.items():
                before = cpu_s(pid) if pid else 0.0
                latencies, took = asyncio.run(ask(address, asked.requests, asked.at_once))
                cuts = statistics.quantiles(latencies, n=100)
                found[name]["median"].append(cuts[49] * 1e3)
                found[name]["p99"].append(cuts[98] * 1e3)
                found[name]["rate"].append(asked.requests / took)
                found[name]["cpu"].append((cpu_s(pid) - before) / asked.requests * 1e3 if pid else 0.0)
        versions = f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}"
        print(f"{versions}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"{asked.rounds} rounds of {asked.requests} requests, {asked.at_once} at once; medians of the rounds")
        middle = {name: {key: statistics.median(values) for key, values in own.items()} for name, own in found.items()}
        for name, own in middle.items():
            print(
                f"{name:8} median {own['median']:7.2f} ms  p99 {own['p99']:7.2f} ms  {own['rate']:7.0f} requests/s"
                f"  CPU {own['cpu']:.2f} ms a request"
            )
        direct, ours = middle["direct"], middle["ftsdk"]
        added = [ours[key] - direct[key] for key in ("median", "p99")]
        print(f"ftsdk adds {added[0]:.2f} ms at the median, {added[1]:.2f} at p99")
        if "litellm" in middle:
            theirs = middle["litellm"]
            rate, cpu = ours["rate"] / theirs["rate"], theirs["cpu"] / ours["cpu"]
            print(f"ftsdk sustains {rate:.1f}x LiteLLM's requests/s; LiteLLM takes {cpu:.1f}x the CPU time")


if __name__ == "__main__":
    main()
