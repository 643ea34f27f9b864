"""Endpoints that cost money: a budget that holds, and answers that are paid once."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from api_server import PRICE, ApiServer, Response
from serving import serving

from ftsdk import BackendError, BudgetExceededError, CredentialsError, DatasetError, Endpoint, Eval, SpecError
from ftsdk.evals import FunctionTarget, as_target, constrained, evaluate, targets

MakeRows = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving(ApiServer()) as running:
        yield running


@pytest.fixture
def item(make_rows: MakeRows) -> Eval:
    return Eval.exact_match(make_rows(*((f"question {n}", f"question {n}") for n in range(20))), max_new_tokens=16)


def endpoint(server: ApiServer, **options: Any) -> Endpoint:
    return Endpoint(**{"url": server.url, "model": "m", "price": PRICE, "attempts": 1, "concurrency": 3, **options})


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "exact_match" / "tuned.jsonl").read_text().splitlines()]


def test_every_answer_has_its_cost_tokens_and_time(server: ApiServer, item: Eval, tmp_path: Path) -> None:
    evaluate([item], [endpoint(server).target()], into=tmp_path)

    lines = lines_of(tmp_path)
    assert sum(Decimal(line["usd"]) for line in lines) == server.billed_usd
    assert all(line["input_tokens"] > 0 and line["output_tokens"] > 0 and line["seconds"] > 0 for line in lines)


@pytest.mark.parametrize("revision", ["1", None])
def test_a_budget_holds_and_the_next_call_goes_on(
    server: ApiServer, item: Eval, tmp_path: Path, revision: str | None
) -> None:
    def run(budget_usd: float | None) -> int | None:
        target = endpoint(server, revision=revision).target()
        return evaluate([item], [target], into=tmp_path, budget_usd=budget_usd).scores[0].correct

    spent = Decimal(0)
    with pytest.raises(BudgetExceededError, match=r"budget_usd=0\.1 is reached") as caught:
        run(0.1)
    for _ in range(2):
        assert caught.value.accrued_usd == server.billed_usd - spent
        assert 0 < server.billed_usd - spent <= Decimal("0.1")
        spent = server.billed_usd
        with pytest.raises(BudgetExceededError) as caught:
            run(0.1)
    assert run(None) == 20
    assert set(server.asked.values()) == {1}
    run(None)
    assert set(server.asked.values()) == {1 if revision else 2}  # it came to its end, and the model may have changed


def test_a_budget_too_small_for_one_request_sends_none(server: ApiServer, item: Eval, tmp_path: Path) -> None:
    with pytest.raises(BudgetExceededError, match=r"\$0.00 is spent"):
        evaluate([item], [endpoint(server).target()], into=tmp_path, budget_usd=0.001)
    assert server.requests == []


def test_a_budget_without_a_price_is_refused_before_a_request(server: ApiServer, item: Eval, tmp_path: Path) -> None:
    free = endpoint(server, price=None).target()
    for target in (free, as_target("other", free), constrained(free, choices=["a", "b"])):
        with pytest.raises(SpecError, match="TokenPrice"):
            evaluate([item], [target], into=tmp_path, budget_usd=1)
    with pytest.raises(SpecError, match="budget_usd"):
        evaluate([item], [endpoint(server).target()], into=tmp_path, budget_usd=0)
    assert server.requests == []
    rules = FunctionTarget(name="rules", function=lambda messages: "a")
    assert evaluate([item], [rules], into=tmp_path, budget_usd=1).scores[0].correct == 0


def test_answers_that_never_arrive_count_at_their_most(server: ApiServer, item: Eval, tmp_path: Path) -> None:
    server.respond = lambda request, n: Response(resets=True, is_billed=True) if n % 2 else None
    target = endpoint(server, attempts=3).target()
    correct = None
    while correct is None:
        before = server.billed_usd
        with contextlib.suppress(BudgetExceededError):
            correct = evaluate([item], [target], into=tmp_path, budget_usd=0.15).scores[0].correct
        assert server.billed_usd - before <= Decimal("0.15")
    assert correct == 20
    written = (tmp_path / "exact_match" / "tuned.answers.jsonl").read_text().split("\n")
    assert server.billed_usd <= sum(Decimal(json.loads(line).get("usd", 0)) for line in written if line)


@pytest.mark.parametrize(
    ("status", "error", "most"), [(401, CredentialsError, 6), (402, BackendError, 6), (404, BackendError, 12)]
)
def test_a_failure_of_all_examples_stops_early(
    server: ApiServer, item: Eval, tmp_path: Path, status: int, error: type[Exception], most: int
) -> None:
    server.respond = lambda request, n: Response(status=status)
    with pytest.raises(error):
        evaluate([item], [endpoint(server).target()], into=tmp_path)
    assert len(server.requests) <= most


def test_a_server_that_goes_away_stops_with_all_answers_kept(server: ApiServer, item: Eval, tmp_path: Path) -> None:
    def respond(request: dict[str, Any], n: int) -> Response | None:
        if len(server.answered) >= 10:
            server.server_close()  # takes no more connections
            return Response(headers={"Connection": "close"}, resets=True)
        return None

    server.respond = respond
    with pytest.raises(BackendError, match="can't reach") as caught:
        evaluate([item], [endpoint(server, concurrency=1).target()], into=tmp_path)
    assert "tuned has answered 10 of 20 examples" in caught.value.__notes__[-1]
    assert (tmp_path / "exact_match" / "tuned.answers.jsonl").read_text().count('"text": "question') == 10


def test_a_server_that_breaks_down_stops_after_some_failures(
    server: ApiServer, make_rows: MakeRows, tmp_path: Path
) -> None:
    many = Eval.exact_match(make_rows(*((str(n), str(n)) for n in range(100))))
    server.respond = lambda request, n: Response(status=500) if len(server.answered) >= 10 else None
    with pytest.raises(BackendError, match="HTTP 500") as caught:
        evaluate([many], [endpoint(server).target()], into=tmp_path)
    assert caught.value.retryable
    assert len(server.requests) <= 10 + 16 + 2 * 3
    server.respond = lambda request, n: None
    assert evaluate([many], [endpoint(server).target()], into=tmp_path).scores[0].correct == 100
    assert set(server.answered.values()) == {1}


def test_a_filter_that_answers_403_is_of_its_example(server: ApiServer, item: Eval, tmp_path: Path) -> None:
    server.respond = lambda request, n: (
        Response(status=403) if request["messages"][-1]["content"] == "question 7" else None
    )
    report = evaluate([item], [endpoint(server, concurrency=1).target()], into=tmp_path)
    assert (report.scores[0].correct, report.scores[0].errors) == (19, 1)


def test_another_process_at_the_same_answers_is_refused(server: ApiServer, item: Eval, tmp_path: Path) -> None:
    refused: list[str] = []

    def nested(request: dict[str, Any], n: int) -> Response | None:
        if not refused:
            refused.append("")
            with pytest.raises(DatasetError, match="another process") as caught:
                evaluate([item], [endpoint(server).target()], into=tmp_path)
            refused[0] = str(caught.value)
        return None

    server.respond = nested
    assert evaluate([item], [endpoint(server, concurrency=1).target()], into=tmp_path).scores[0].correct == 20
    assert "another folder" in refused[0]


def test_any_number_of_targets_have_names_of_their_own(server: ApiServer, item: Eval, tmp_path: Path) -> None:
    rules = FunctionTarget(name="x", function=lambda messages: "no")
    measured = targets(rules, endpoint(server), api=endpoint(server), echo=lambda messages: messages[-1]["content"])
    report = evaluate([item], measured, into=tmp_path, compare_with="api")
    assert [(score.target, score.correct) for score in report.scores] == [
        ("base", 0),
        ("tuned", 20),
        ("api", 20),
        ("echo", 20),
    ]
    with pytest.raises(SpecError, match="can't be measured"):
        as_target("x", 7)  # pyright: ignore[reportArgumentType]
    for name in ("a/b", "..", "", "a.answers"):
        with pytest.raises(SpecError, match="name of a target"):
            evaluate([item], [as_target(name, rules)], into=tmp_path)


def test_a_function_answers_several_at_once(make_rows: MakeRows, tmp_path: Path) -> None:
    meeting = threading.Barrier(4, timeout=20)

    def answer(messages: Any) -> str:
        meeting.wait()
        return messages[-1]["content"]

    item = Eval.exact_match(make_rows(*((str(n), str(n)) for n in range(8))))
    target = FunctionTarget(name="f", function=answer, concurrency=4)
    assert evaluate([item], [target], into=tmp_path).scores[0].correct == 8


def test_a_function_that_fails_keeps_what_is_in_flight(make_rows: MakeRows, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(messages: Any) -> str:
        question = messages[-1]["content"]
        asked.append(question)
        if question == "3" and asked.count("3") == 1:
            raise OSError("no memory")
        return question

    item = Eval.exact_match(make_rows(*((str(n), str(n)) for n in range(12))))
    target = FunctionTarget(name="f", function=answer, revision="1", concurrency=3)
    with pytest.raises(OSError, match="no memory"):
        evaluate([item], [target], into=tmp_path)
    assert evaluate([item], [target], into=tmp_path).scores[0].correct == 12
    assert sorted(asked, key=int) == sorted([*map(str, range(12)), "3"], key=int)


def test_a_count_of_tokens_that_cannot_be_is_not_believed(server: ApiServer, item: Eval, tmp_path: Path) -> None:
    def respond(request: dict[str, Any], n: int) -> Response:
        message = {"message": {"content": "a"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 100_000_000}
        return Response(content=json.dumps({"choices": [message], "usage": usage}).encode())

    server.respond = respond
    evaluate([item], [endpoint(server).target()], into=tmp_path, budget_usd=5)
    lines = lines_of(tmp_path)
    assert all("output_tokens" not in line for line in lines)
    assert 0 < sum(Decimal(line["usd"]) for line in lines) <= 5
