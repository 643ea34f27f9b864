"""Targets that fail in every way: an answer or one clear error within the time, and one record for each request."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from routed_targets import Target

from ftsdk import BackendError, BudgetExceededError, Endpoint, Router
from ftsdk.deploy.router.breaker import BreakerRule
from ftsdk.deploy.router.records import read_records

FAULTS = {
    500: "server_error",
    503: "server_error",
    429: "rate_limited",
    401: "credentials",
    400: "refused",
    302: "invalid_answer",
    "hang": "timeout",
    "drip": "timeout",
    "reset": "connection",
    "garbage": "invalid_answer",
    "empty": "empty",
    "cut": "length",
}
STREAM_FAULTS = {
    500: "server_error",
    "silent_stream": "timeout",
    "error_stream": "server_error",
    "no_stream": "invalid_answer",
}


def answers(folder: Path) -> list[dict[str, Any]]:
    return [line for line in read_records(folder) if line["kind"] == "answer"]


@pytest.mark.parametrize(("fault", "word"), FAULTS.items(), ids=map(str, FAULTS))
def test_the_fallback_answers_for_a_target_that_fails(
    fault: Any, word: str, tuned: Target, frontier: Target, tmp_path: Path
) -> None:
    tuned.behaviour = fault
    with Router(tuned.endpoint(), fallback=frontier.endpoint("big"), folder=tmp_path, timeout_s=0.6) as router:
        answer = router.complete("Where is my parcel?")

    assert str(answer) == "from frontier"
    assert answer.record.fallback_reason == word
    assert [attempt.arm for attempt in answer.record.attempts] == ["tuned", "fallback"]
    assert (len(tuned.asked), len(frontier.asked)) == (1, 1)
    assert [line["id"] for line in answers(tmp_path)] == [answer.id]
    assert frontier.asked[0]["model"] == "big"


def test_a_target_that_nobody_listens_at_is_replaced(frontier: Target, tmp_path: Path) -> None:
    dead = Endpoint(url="http://127.0.0.1:9/v1", model="m")
    with Router(dead, fallback=frontier.endpoint(), folder=tmp_path) as router:
        assert router.complete("?").record.fallback_reason == "connection"


@pytest.mark.parametrize("fault", [503, "hang", "reset", "garbage", "empty", 429])
def test_all_down_is_one_clear_error_within_the_time(
    fault: Any, tuned: Target, frontier: Target, tmp_path: Path
) -> None:
    tuned.behaviour = frontier.behaviour = fault
    started = time.monotonic()
    with Router(tuned.endpoint(), fallback=frontier.endpoint(), folder=tmp_path, timeout_s=0.5) as router:
        with pytest.raises(BackendError) as caught:
            router.complete("?")
        took = time.monotonic() - started

    assert FAULTS[fault] in str(caught.value)
    assert caught.value.retryable
    assert took < 30, "only against hanging: the budget is half a second"
    (line,) = answers(tmp_path)
    assert (line["outcome"], line["error"]) == ("failed", FAULTS[fault])


def test_a_breaker_opens_and_closes_again(tuned: Target, frontier: Target, tmp_path: Path) -> None:
    tuned.behaviour = 503
    rule = BreakerRule(failures=3, cooldown_s=0.2)
    with Router(tuned.endpoint(), fallback=frontier.endpoint(), folder=tmp_path, breaker=rule) as router:
        reasons = [router.complete("?").record.fallback_reason for _ in range(5)]
        assert reasons == ["server_error"] * 3 + ["breaker_open"] * 2
        assert router.status().to_dict()["targets"]["tuned"]["breaker"] == "open"
        tuned.behaviour = "ok"
        deadline = time.monotonic() + 20
        while str(answer := router.complete("?")) != "from tuned" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert answer.record.fallback_reason is None
        assert router.status().to_dict()["targets"]["tuned"]["breaker"] == "closed"
    assert len(tuned.asked) == 4, "three failures and the probe"


def test_a_storm_of_429_rests_the_target_as_long_as_it_asks(tuned: Target, frontier: Target, tmp_path: Path) -> None:
    tuned.behaviour, tuned.retry_after = 429, "30"
    with Router(tuned.endpoint(), fallback=frontier.endpoint(), folder=tmp_path) as router:
        for _ in range(10):
            assert str(router.complete("?")) == "from frontier"
    assert len(tuned.asked) == 1


def test_with_all_breakers_open_nobody_is_asked_and_the_client_hears_when_to_come_back(
    tuned: Target, tmp_path: Path
) -> None:
    tuned.behaviour = 503
    with Router(tuned.endpoint(), folder=tmp_path, breaker=BreakerRule(failures=1, cooldown_s=30)) as router:
        with pytest.raises(BackendError):
            router.complete("?")
        with pytest.raises(BackendError, match="resting") as caught:
            router.complete("?")
    assert len(tuned.asked) == 1
    assert caught.value.retry_after_s is not None


def test_what_the_client_asks_for_badly_is_its_own_error_and_opens_no_breaker(tuned: Target, tmp_path: Path) -> None:
    tuned.behaviour = 422
    with Router(tuned.endpoint(), folder=tmp_path, breaker=BreakerRule(failures=1)) as router:
        with pytest.raises(BackendError) as caught:
            router.complete("?", temperature="hot")
        assert router.status().to_dict()["targets"]["tuned"]["breaker"] == "closed"
    assert caught.value.status_code == 422


def test_a_slow_target_leaves_time_for_the_fallback(tuned: Target, frontier: Target, tmp_path: Path) -> None:
    tuned.behaviour = "hang"
    with Router(tuned.endpoint(), fallback=frontier.endpoint(), folder=tmp_path, timeout_s=1.0) as router:
        record = router.complete("?").record
    assert record.attempts[0].error == "timeout"
    assert record.attempts[0].duration_s < record.duration_s


def test_keys_reach_neither_errors_nor_records(tuned: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTE_KEY", "sk-very-secret-key-123456")
    tuned.behaviour = 503  # and the server repeats the header
    with (
        Router(tuned.endpoint(api_key_env="ROUTE_KEY"), folder=tmp_path) as router,
        pytest.raises(BackendError) as caught,
    ):
        router.complete("?")
    assert tuned.headers[0]["Authorization"] == "Bearer sk-very-secret-key-123456"
    assert "very-secret" not in str(caught.value)
    assert "very-secret" not in repr(list(read_records(tmp_path)))


def test_records_hold_neither_prompt_nor_answer(tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint(), folder=tmp_path) as router:
        router.complete("my name is Ada Lovelace")
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "Lovelace" not in written
    assert "from tuned" not in written


@pytest.mark.parametrize(("fault", "word"), STREAM_FAULTS.items(), ids=map(str, STREAM_FAULTS))
def test_before_its_first_token_a_stream_can_still_come_from_the_fallback(
    fault: Any, word: str, tuned: Target, frontier: Target, tmp_path: Path
) -> None:
    tuned.behaviour = fault
    with Router(tuned.endpoint(), fallback=frontier.endpoint(), folder=tmp_path, timeout_s=0.8) as router:
        status, headers, text = streamed(router.start())
    assert status == 200
    assert (headers["x-ftsdk-arm"], headers["x-ftsdk-fallback"]) == ("fallback", word)
    assert text.count('"role": "assistant"') == 1, "nothing of the first target's stream is left in it"
    assert text.rstrip().endswith("data: [DONE]")


def test_after_its_first_token_a_stream_that_breaks_is_an_error_and_nobody_else_is_asked(
    tuned: Target, frontier: Target, tmp_path: Path
) -> None:
    tuned.behaviour = "cut_stream"
    with Router(tuned.endpoint(), fallback=frontier.endpoint(), folder=tmp_path) as router:
        status, _, text = streamed(router.start())
    assert status == 200
    assert text.count('"error"') == 1
    assert "[DONE]" not in text
    assert frontier.asked == []
    (line,) = answers(tmp_path)
    assert (line["outcome"], line["first_token_s"] is None) == ("failed", True)


def test_a_client_that_goes_away_frees_the_target_and_is_on_record(
    tuned: Target, frontier: Target, tmp_path: Path
) -> None:
    tuned.behaviour = "hang"
    with Router(tuned.endpoint(), fallback=frontier.endpoint(), folder=tmp_path) as router:
        address = router.start()
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/chat/completions", json=body(), timeout=0.3)
        deadline = time.monotonic() + 20
        while (tuned.in_flight or not answers(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert tuned.in_flight == 0
    (line,) = answers(tmp_path)
    assert (line["outcome"], line["attempts"][0]["outcome"]) == ("cancelled", "cancelled")
    assert frontier.asked == []


def test_cancelling_an_async_call_cancels_the_request(tuned: Target, tmp_path: Path) -> None:
    tuned.behaviour = "hang"

    async def main(router: Router) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(router.acomplete("?"), 0.2)

    with Router(tuned.endpoint(), folder=tmp_path) as router:
        asyncio.run(main(router))
        deadline = time.monotonic() + 20
        while not answers(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
    assert answers(tmp_path)[0]["outcome"] == "cancelled"


def test_money_of_fallbacks_has_a_limit_of_its_own_that_a_restart_keeps(
    tuned: Target, frontier: Target, tmp_path: Path
) -> None:
    tuned.behaviour = 503

    def router() -> Router:
        # An answer costs 0.02; one of at most 5 tokens may cost up to about 0.2 for its prompt.
        return Router(
            tuned.endpoint(price=None),
            fallback=frontier.priced(),
            folder=tmp_path,
            fallback_usd_per_hour=0.3,
            breaker=BreakerRule(failures=1000, share=1.0),
        )

    frontier.behaviour = lambda _: {
        "choices": [{"message": {"content": "dear"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 5},
    }
    with router() as first:
        assert str(first.complete("?", max_tokens=5)) == "dear"
        assert str(first.complete("?", max_tokens=5)) == "dear"
    with router() as second, pytest.raises(BudgetExceededError):
        second.complete("?", max_tokens=5)
    assert len(frontier.asked) == 2


def body(**more: Any) -> dict[str, Any]:
    return {"model": "route", "messages": [{"role": "user", "content": "?"}], **more}


def streamed(address: str) -> tuple[int, httpx.Headers, str]:
    with httpx.stream("POST", f"{address}/chat/completions", json=body(stream=True), timeout=60) as response:
        return response.status_code, response.headers, response.read().decode()
