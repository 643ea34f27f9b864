"""Evaluations of an API that fails in every way: an answer or a recorded error for each example, and a budget."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from api_server import PRICE, ApiServer, Response, completion
from fuzzing import FuzzCases, limits
from serving import serving

from ftsdk import BackendError, BudgetExceededError, Dataset, Eval, TokenPrice
from ftsdk.evals import ChatWire, evaluate

pytestmark = pytest.mark.fuzz

NOW = 1_800_000_000
BOMB = gzip.compress(b" " * (64 << 20))
WAITS = [
    *("1", "0", "7.5", "2592000", "-5", "nan", "inf", "1e400", "soon", "", "9" * 400),
    *(formatdate(NOW + seconds, usegmt=True) for seconds in (5, -5, 30 * 86_400)),
    *("Fri, 32 Foo 2026", "Fri, 01 Jan 99999 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"),
]
GIVEN_UP_AFTER = 12
"""From then on a question has its answer, so that each case comes to an end."""


@dataclass(frozen=True, kw_only=True)
class Api:
    """The server as a target whose waits take no time."""

    url: str
    concurrency: int
    attempts: int
    timeout_s: float
    waits: list[float] = field(default_factory=list[float])
    name: str = "api"
    identity: str = "one"
    price: TokenPrice = PRICE

    @contextlib.contextmanager
    def open(self) -> Iterator[ChatWire]:
        with ChatWire(
            url=self.url,
            model="m",
            price=self.price,
            concurrency=self.concurrency,
            attempts=self.attempts,
            timeout_s=self.timeout_s,
            clock=lambda: NOW,
            sleep=self.waits.append,
        ) as wire:
            yield wire


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving(ApiServer()) as running:
        yield running


def test_every_example_ends_with_an_answer_or_an_error(
    fuzz_cases: FuzzCases, server: ApiServer, tmp_path: Path
) -> None:
    seen: Counter[str] = Counter()
    for rng in fuzz_cases:
        with limits(seconds=120, mib=256):
            _evaluate_to_the_end(rng, server, tmp_path / "case", seen)
        shutil.rmtree(tmp_path / "case")
    sys.stdout.write(f"{dict(seen)}\n")  # shown by -s


def _evaluate_to_the_end(rng: random.Random, server: ApiServer, into: Path, seen: Counter[str]) -> None:
    rate, seed, drips = rng.choice([0.1, 0.3, 0.6, 0.9]), rng.random(), rng.random() < 0.02

    def respond(request: dict[str, Any], n: int) -> Response | None:
        question = request["messages"][-1]["content"]
        own = random.Random(f"{seed}/{question}/{n}")
        if n > GIVEN_UP_AFTER or own.random() > rate:
            return None
        return (
            Response(content=completion(request, question), drip_s=0.05, is_billed=True)
            if drips and own.random() < 0.1
            else _fault(own, request)
        )

    with server.lock:
        server.asked.clear()
        server.answered.clear()
        server.respond = respond
    questions = [f"question {rng.randrange(20)}" for _ in range(rng.randrange(1, 14))]
    rows = [{"prompt": question, "completion": question} for question in questions]
    item = Eval.exact_match(Dataset.from_rows(rows, name="questions"), max_new_tokens=rng.choice([12, 16]))
    api = Api(
        url=server.url,
        concurrency=rng.choice([1, 2, 4]),
        attempts=rng.choice([1, 2, 3]),
        timeout_s=0.3 if drips else 20.0,
    )
    budget = rng.choice([0.05, 0.1, 0.3, 1.0])
    for _ in range(200):
        before = server.billed_usd
        try:
            report = evaluate([item], [api], into=into, budget_usd=budget)
        except BudgetExceededError as error:
            seen["budget reached"] += 1
            _check_bill(server.billed_usd - before, error.accrued_usd, Decimal(str(budget)))
        except BackendError:
            seen["stopped"] += 1
        else:
            lines = [json.loads(line) for line in (into / "exact_match" / "api.jsonl").read_text().splitlines()]
            assert [line["index"] for line in lines] == list(range(len(questions)))
            assert all((line["output"] == line["expected"]) is ("error" not in line) for line in lines)
            assert report.scores[0].errors == sum("error" in line for line in lines)
            seen["examples with an error"] += report.scores[0].errors
            if report.scores[0].errors == 0:
                break
        assert server.billed_usd - before <= Decimal(str(budget))
    else:
        raise AssertionError("the evaluation doesn't come to its end")
    seen["examples"] += len(questions)
    seen["requests"] += server.asked.total()
    assert server.billed_usd - before <= Decimal(str(budget))
    assert all(0 <= wait <= 60 and math.isfinite(wait) for wait in api.waits)
    kept = [json.loads(line) for line in (into / "exact_match" / "api.answers.jsonl").read_text().split("\n") if line]
    answers = Counter(line["key"] for line in kept if "error" not in line)
    assert len(answers) == len(set(questions)) == answers.total()
    if not drips:  # where time runs out, an answer may come too late
        assert set(server.answered.values()) <= {1}
        for question, n in server.answered.items():
            assert n == 1, f"{question} was paid for {n} times"


def _check_bill(billed: Decimal, accrued: Decimal | None, budget: Decimal) -> None:
    assert accrued is not None
    assert billed <= accrued <= budget


def _fault(rng: random.Random, request: dict[str, Any]) -> Response:
    """Return what goes back instead of the answer."""
    question = request["messages"][-1]["content"]
    right = completion(request, question)
    kind = rng.random()
    if kind < 0.3:
        return Response(status=429, headers={"Retry-After": rng.choice(WAITS)} if rng.random() < 0.9 else {})
    if kind < 0.45:
        return Response(status=rng.choice([500, 502, 503, 504, 529]), content=b"<html>down</html>")
    if kind < 0.55:
        message = rng.choice(["too long", "filtered", "max_tokens is too large", "\x1b[2J", "x" * 5000])
        status = rng.choice([400, 413, 422])
        return Response(status=status, content=json.dumps({"error": {"message": message}}).encode())
    if kind < 0.65:
        return Response(resets=True, is_billed=rng.random() < 0.5)
    if kind < 0.75:
        cut = rng.randrange(len(right))
        return Response(content=right[:cut], length=len(right), is_billed=True)
    if kind < 0.77:
        return Response(content=BOMB, headers={"Content-Encoding": rng.choice(["gzip", "deflate"])}, is_billed=True)
    if kind < 0.79:
        return Response(content=b" " * (5 << 20), is_billed=True)
    content: Any = rng.choice(
        [
            {"choices": []},
            {"choices": None},
            {"choices": [{"message": None}]},
            {"choices": [{"message": {"content": 7}}]},
            {"error": {"message": "overloaded", "code": 529}},
            {},
            [],
            None,
            "text",
            float("nan"),
        ]
    )
    body = rng.choice(
        [
            json.dumps(content).encode(),
            right[: rng.randrange(len(right))],
            b"<html>We'll be right back</html>",
            b"[" * 100_000,
            rng.randbytes(rng.randrange(50)),
            b"",
        ]
    )
    kind_of_content = rng.choice(["application/json", "text/html", "application/octet-stream", "x", ""])
    return Response(content=body, headers={"Content-Type": kind_of_content}, is_billed=True)
