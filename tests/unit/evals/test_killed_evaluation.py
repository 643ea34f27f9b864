"""An evaluation that is killed goes on: no answer that was kept is paid for again, and the results are the same."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import api_server
import pytest
from api_server import ApiServer
from serving import serving

from ftsdk.evals import evaluate

CONCURRENCY = 4
CHILD = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_killed_evaluation import target, sixty
from ftsdk.evals import evaluate
evaluate([sixty()], [target(sys.argv[1])], into=Path(sys.argv[2]), budget_usd=100)
"""


def sixty() -> Any:
    from ftsdk import Dataset, Eval

    rows = [{"prompt": f"question {n}", "completion": f"question {n if n % 3 else 0}"} for n in range(60)]
    return Eval.exact_match(Dataset.from_rows(rows, name="questions"), max_new_tokens=16)


def target(url: str) -> Any:
    from api_server import PRICE

    from ftsdk import Endpoint

    return Endpoint(url=url, model="m", price=PRICE, concurrency=CONCURRENCY).target()


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving(ApiServer()) as running:
        running.delay_s = 0.05
        yield running


def run(server: ApiServer, into: Path, kill_after_s: float | None) -> None:
    """Evaluate in a process of its own; it may be killed so many seconds after it has asked something."""
    before = len(server.requests)
    folders = [str(Path(file).parent) for file in (__file__, api_server.__file__)]
    child = subprocess.Popen([sys.executable, "-c", CHILD, server.url, str(into), *folders])
    try:
        while kill_after_s is not None and len(server.requests) == before and child.poll() is None:
            time.sleep(0.005)
        assert child.wait(120 if kill_after_s is None else kill_after_s) == 0
    except subprocess.TimeoutExpired:
        child.kill()
    finally:
        child.wait()


def found_in(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "exact_match" / "tuned.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


def test_a_killed_evaluation_pays_for_no_answer_twice(server: ApiServer, tmp_path: Path) -> None:
    evaluate([sixty()], [target(server.url)], into=tmp_path / "undisturbed")
    server.asked.clear()
    rng = random.Random(12)
    kills = 3
    for _ in range(kills):
        before = dict(server.asked)
        run(server, tmp_path / "killed", rng.uniform(0.0, 0.3))
        again = sum(server.asked[question] - n for question, n in before.items())
        assert again <= CONCURRENCY
    run(server, tmp_path / "killed", None)

    assert server.asked.total() - 60 <= kills * CONCURRENCY
    assert found_in(tmp_path / "killed") == found_in(tmp_path / "undisturbed")
