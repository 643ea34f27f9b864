"""Limits on money with many clients at once, and after a router was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from routed_targets import Target, completion

from ftsdk import BudgetExceededError, FtsdkError, Router
from ftsdk.deploy.router.route_file import RouteFile

USD = 0.02
"""What an answer of a stand-in costs: 10 tokens in and 5 out."""
CLIENTS = 16


def ask_together(router: Router, times: int) -> list[str]:
    def one(number: int) -> str:
        try:
            return router.complete(f"question {number}", max_tokens=5).text
        except FtsdkError as error:
            return type(error).__name__

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(one, range(times)))


def test_sixteen_clients_never_spend_more_than_the_limit(tuned: Target, tmp_path: Path) -> None:
    tuned.delay_s = 0.01
    with Router(tuned.priced(), folder=tmp_path, usd_per_day=1.0) as router:
        found = ask_together(router, 160)
        with contextlib.suppress(BudgetExceededError):  # and one after the other
            while len(tuned.asked) < 100:
                router.complete("question", max_tokens=5)
        spent = router.status().to_dict()["spent_usd"]["last_day"]
    assert set(found) == {"from tuned", "BudgetExceededError"}
    assert spent == pytest.approx(len(tuned.asked) * USD)
    # A request may cost 0.15 dollars for all that is known before, so the last cents are never spent.
    assert 0.75 <= spent <= 1.0


def test_of_extra_money_only_fallbacks_take_and_no_more_than_there_is(
    tuned: Target, frontier: Target, tmp_path: Path
) -> None:
    tuned.behaviour = 500
    with Router(tuned.priced(), fallback=frontier.priced(), folder=tmp_path, fallback_usd_per_hour=0.5) as router:
        ask_together(router, 80)
    assert 0 < len(frontier.asked) * USD <= 0.5


def test_a_target_that_answers_longer_than_asked_exceeds_by_what_is_in_flight(tuned: Target, tmp_path: Path) -> None:
    tuned.behaviour = lambda body: completion("long", tokens=(10, 500))
    tuned.delay_s = 0.05
    with Router(tuned.priced(concurrency=4), folder=tmp_path, usd_per_day=1.2) as router:
        ask_together(router, 40)
        with pytest.raises(BudgetExceededError):
            router.complete("Where?", max_tokens=5)
    in_flight = 9  # so many answers of at most 0.13 dollars fit at first, and each costs 1.01
    assert 1 <= len(tuned.asked) <= in_flight


FILE = """\
targets:
  v3: {{url: "http://127.0.0.1:{port}/v1", model: v3, price: {{input_usd_per_mtok: 1000, output_usd_per_mtok: 2000}}}}
folder: state
usd_per_day: 1
lock_wait_s: {wait}
"""


def start(file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ftsdk", "route", str(file), "--port", "0"]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.Popen(command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, env=environment)


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if "answers at" in line:
            return line.split("answers at ")[1].split()[0].rstrip(";")
    raise AssertionError("it ended")


def test_of_two_routers_one_waits_until_the_other_is_killed_and_knows_what_it_spent(
    tuned: Target, tmp_path: Path
) -> None:
    file, hasty = tmp_path / "route.yaml", tmp_path / "hasty.yaml"
    file.write_text(FILE.format(port=tuned.port, wait=60))
    hasty.write_text(FILE.format(port=tuned.port, wait=0))
    first = start(file)
    second = None
    try:
        address = address_of(first)
        refused = start(hasty)
        said, _ = refused.communicate(timeout=60)
        assert refused.returncode not in (0, None)
        assert "another router is using" in said
        body = {"messages": [{"role": "user", "content": "Where?"}], "max_tokens": 5}
        for _ in range(3):
            assert httpx.post(f"{address}/chat/completions", json=body, timeout=60).status_code == 200
        second = start(file)
        first.send_signal(signal.SIGKILL)
        first.wait(60)
        status = httpx.get(address_of(second).removesuffix("/v1") + "/status", timeout=60).json()
        assert status["spent_usd"]["last_day"] == pytest.approx(3 * USD)
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.communicate(timeout=60)
    assert RouteFile.from_yaml(file).router(file).recorded_status().alias.champion == "v3"
