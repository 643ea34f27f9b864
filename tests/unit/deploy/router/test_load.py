"""Many requests through switches, kills of a target and a restart of the router: none is lost, none answered twice."""

from __future__ import annotations

import asyncio
import collections
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from routed_targets import Target

from ftsdk.deploy.router.records import read_records
from ftsdk.deploy.router.route_file import RouteFile

FILE = """\
targets:
  v3: {{url: "http://127.0.0.1:{first}/v1", model: v3, concurrency: 64}}
  v4: {{url: "http://127.0.0.1:{second}/v1", model: v4, concurrency: 64}}
fallback:
  frontier: {{url: "http://127.0.0.1:{third}/v1", model: big, concurrency: 64}}
canary: 0.2
folder: state
timeout_s: 30
breaker: {{failures: 3, cooldown_s: 0.2}}
"""


def start(file: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ftsdk", "route", str(file), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"})
    assert process.stdout is not None
    assert "answers at" in process.stdout.readline()
    return process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("requests", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_none_is_lost_through_switches_kills_and_a_restart(requests: int, tmp_path: Path) -> None:
    file, port = tmp_path / "route.yaml", free_port()
    answers: collections.Counter[str] = collections.Counter()
    ids: set[str] = set()
    with Target(text="v3") as v3, Target(text="frontier") as frontier:
        v4 = Target(text="v4")
        v4.__enter__()
        file.write_text(FILE.format(first=v3.port, second=v4.port, third=frontier.port))
        router = RouteFile.from_yaml(file).router(file)
        running = [start(file, port)]
        done = 0

        async def ask(session: aiohttp.ClientSession, number: int) -> None:
            """Ask until the request was sent: nobody listens while the router is being restarted."""
            nonlocal done
            while True:
                try:
                    async with session.post(
                        f"http://127.0.0.1:{port}/v1/chat/completions",
                        json={"model": "route", "messages": [{"role": "user", "content": f"question {number}"}]},
                    ) as response:
                        body = await response.json()
                        assert response.status == 200, body
                        answers[body["choices"][0]["message"]["content"]] += 1
                        ids.add(response.headers["x-request-id"])
                        done += 1
                        return
                except aiohttp.ClientOSError:  # no connection, or one that was reset before the request was read
                    await asyncio.sleep(0.02)

        async def disturb() -> None:
            """Switch, kill a target, restart the router, start the target again, at fixed shares of the way."""
            nonlocal v4

            async def reach(share: float) -> None:
                while done < share * requests:
                    await asyncio.sleep(0.005)

            await reach(0.1)
            await asyncio.to_thread(router.switch, canary="v4", share=0.5)
            await reach(0.2)
            again, v4_port = v4, v4.port
            await asyncio.to_thread(again.__exit__)
            await reach(0.4)
            await asyncio.to_thread(router.promote)
            await reach(0.5)
            running[0].send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(running[0].wait, 60) == 0
            running.append(await asyncio.to_thread(start, file, port))
            v4 = Target(text="v4", port=v4_port)
            await asyncio.to_thread(v4.__enter__)
            await reach(0.8)
            await asyncio.to_thread(router.switch, "v3", reason="back")

        async def main() -> None:
            # A connection for each request: on a kept one, a client can't know whether the last request was taken.
            connector = aiohttp.TCPConnector(limit=16, force_close=True)
            async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
                await asyncio.gather(disturb(), *(ask(session, number) for number in range(requests)))

        try:
            asyncio.run(main())
        finally:
            for process in running:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)
            v4.__exit__()
    assert sum(answers.values()) == len(ids) == requests
    assert set(answers) == {"v3", "v4", "frontier"} or requests < 1000
    records = collections.Counter(line["id"] for line in read_records(tmp_path / "state") if line["kind"] == "answer")
    assert set(records) >= ids
    assert set(records.values()) == {1}
