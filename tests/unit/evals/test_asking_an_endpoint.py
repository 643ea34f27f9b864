"""`Endpoint.generate`: text in, text out, over a real connection to a server on loopback."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from api_server import PRICE, ApiServer, Response, completion
from serving import serving

from ftsdk import BackendError, BudgetExceededError, CredentialsError, DatasetError, Endpoint, SpecError


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving(ApiServer()) as running:
        yield running


def endpoint(server: ApiServer, **options: Any) -> Endpoint:
    return Endpoint(**{"url": server.url, "model": "m", "attempts": 2, "concurrency": 3, **options})


def says(text: str, *, is_cut: bool = False) -> Response:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "length" if is_cut else "stop"}
    return Response(content=json.dumps({"choices": [choice]}).encode())


def test_what_goes_in_as_a_list_comes_out_as_a_list_in_order(server: ApiServer) -> None:
    asked = endpoint(server)
    assert asked.generate("rome", system="be kind") == "rome"
    assert [message["role"] for message in server.requests[0]["messages"]] == ["system", "user"]
    assert server.requests[0]["max_tokens"] == 512
    assert server.requests[0]["temperature"] == 0
    texts = [f"question {n}" for n in range(7)]
    assert asked.generate(texts, max_new_tokens=9) == texts
    assert server.requests[-1]["max_tokens"] == 9
    assert asked.generate([[{"role": "user", "content": text}] for text in texts]) == texts
    assert asked.generate([{"role": "user", "content": "rome"}]) == "rome"
    assert asked.generate([]) == []


def test_a_failure_that_passes_is_retried_after_the_time_that_the_server_asks_for(server: ApiServer) -> None:
    server.respond = lambda request, n: Response(status=429, headers={"Retry-After": "0"}) if n == 1 else None
    assert endpoint(server).generate(["a", "b"]) == ["a", "b"]
    assert server.asked == {"a": 2, "b": 2}


def test_an_answer_that_fails_is_an_error_that_pickles(server: ApiServer) -> None:
    server.respond = lambda request, n: Response(status=400, content=b'{"error": {"message": "no \\u001b[2J"}}')
    with pytest.raises(BackendError, match="HTTP 400") as found:
        endpoint(server).generate("a")
    assert "\x1b" not in str(found.value)
    assert pickle.loads(pickle.dumps(found.value)).status_code == 400


def test_a_key_that_is_not_set_is_asked_for_by_name(server: ApiServer) -> None:
    with pytest.raises(CredentialsError, match="MY_KEY"):
        endpoint(server, api_key_env="MY_KEY").generate("a")


def test_a_budget_needs_a_price_and_holds(server: ApiServer) -> None:
    with pytest.raises(SpecError, match="price"):
        endpoint(server).generate("a", budget_usd=1)
    assert server.requests == []
    with pytest.raises(BudgetExceededError):
        endpoint(server, price=PRICE).generate([f"{n}" for n in range(50)], max_new_tokens=20, budget_usd=0.1)
    assert 0 < server.billed_usd <= Decimal("0.1")


def test_choices_come_out_as_they_were_passed(server: ApiServer) -> None:
    server.respond = lambda request, n: Response(content=completion(request, '{"answer": "no"}'), is_billed=True)
    assert endpoint(server).generate("a", choices=["yes", "no"]) == "no"
    assert server.requests[0]["response_format"]["type"] == "json_schema"


def test_an_answer_that_a_server_does_not_hold_to_the_choices_is_no_answer(server: ApiServer) -> None:
    with pytest.raises(BackendError, match=r"prompt 1 of 1 to one of the choices: 'perhaps'.*structured="):
        endpoint(server).generate(["perhaps"], choices=["yes", "no"])
    server.respond = lambda request, n: says('{"a": tru', is_cut=True)
    with pytest.raises(SpecError, match="cut off before it was JSON"):
        endpoint(server).generate("a", schema={"type": "object"})


def test_tokens_that_were_all_spent_on_reasoning_are_no_answer(server: ApiServer) -> None:
    server.respond = lambda request, n: says("", is_cut=True)
    with pytest.raises(BackendError, match="Raise max_new_tokens"):
        endpoint(server).generate("a")


def test_what_is_no_prompt_is_not_sent(server: ApiServer) -> None:
    with pytest.raises(DatasetError, match="no content"):
        endpoint(server).generate([{"role": "user", "content": None}])
    assert server.requests == []
