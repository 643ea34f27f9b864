"""The OpenAI-compatible address, as clients see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from routed_targets import Target

from ftsdk import Endpoint, Router, SpecError

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]


def post(address: str, path: str = "chat/completions", **body: Any) -> httpx.Response:
    return httpx.post(f"{address}/{path}", json=body, timeout=60)


def test_the_own_client_and_others_get_the_targets_answer_as_it_came(tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint("mails-v3"), folder=tmp_path, name="mails") as router:
        address = router.start()
        found = post(address, model="mails", messages=MESSAGES, top_p=0.5)
        through_endpoint = Endpoint(url=address, model="mails").generate("Where is my parcel?")
        models = httpx.get(f"{address}/models").json()

    assert found.json()["choices"][0]["message"]["content"] == through_endpoint == "from tuned"
    assert found.headers["x-ftsdk-arm"] == "tuned"
    assert "x-ftsdk-fallback" not in found.headers
    assert tuned.asked[0] == {"model": "mails-v3", "messages": MESSAGES, "top_p": 0.5}
    assert [model["id"] for model in models["data"]] == ["mails"]


def test_feedback_takes_the_id_of_the_request_or_of_the_completion(tuned: Target, tmp_path: Path) -> None:
    class Heard:
        given: list[tuple[str, bool, str | None]] = []  # noqa: RUF012

        def feedback(self, request_id: str, *, accepted: bool, corrected: str | None) -> None:
            self.given.append((request_id, accepted, corrected))

    with Router(tuned.endpoint(), folder=tmp_path, observers=[Heard()]) as router:
        address = router.start()
        found = post(address, messages=MESSAGES)
        request_id = found.headers["x-request-id"]
        assert post(address, "feedback", id=request_id, accepted=True).status_code == 200
        assert (
            post(address, "feedback", id=found.json()["id"], accepted=False, corrected="x").json()["id"] == request_id
        )
        assert post(address, "feedback", id="req-unknown", accepted=True).status_code == 404
        assert post(address, "feedback", id=request_id).status_code == 400
    assert Heard.given == [(request_id, True, None), (request_id, False, "x")]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"messages": []}', b'{"messages": "hi"}', b'{"messages": [1]}'])
def test_what_is_no_request_is_refused_without_asking_anybody(content: bytes, tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint(), folder=tmp_path) as router:
        found = httpx.post(f"{router.start()}/chat/completions", content=content)
    assert found.status_code == 400
    assert found.json()["error"]["code"] == "invalid_request"
    assert tuned.asked == []


def test_an_error_has_the_form_that_clients_know(tuned: Target, tmp_path: Path) -> None:
    tuned.behaviour, tuned.retry_after = 429, "7"
    with Router(tuned.endpoint(), folder=tmp_path) as router:
        found = post(router.start(), messages=MESSAGES)
    assert (found.status_code, found.headers["retry-after"]) == (429, "7")
    assert found.json()["error"]["code"] == "rate_limited"


def test_a_stream_is_passed_on_and_counts_tokens_that_the_client_did_not_ask_for(tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.priced(), folder=tmp_path) as router:
        address = router.start()
        plain = post(address, messages=MESSAGES, stream=True).text
        counted = post(address, messages=MESSAGES, stream=True, stream_options={"include_usage": True}).text
        spent = router.status().to_dict()["spent_usd"]["last_day"]
    assert "usage" not in plain
    assert "usage" in counted
    assert plain.endswith("data: [DONE]\n\n")
    assert spent == pytest.approx(0.04)


def test_a_schema_of_the_request_is_held_by_the_fallback(tuned: Target, frontier: Target, tmp_path: Path) -> None:
    tuned.text, frontier.text = '{"category": 3}', '{"category": "shipping"}'
    schema = {"type": "object", "properties": {"category": {"type": "string"}}, "required": ["category"]}
    held = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    with Router(tuned.endpoint(), fallback=frontier.endpoint(), folder=tmp_path) as router:
        answer = router.complete("?", response_format=held)
    assert (str(answer), answer.record.fallback_reason) == (frontier.text, "schema")
    assert [attempt.outcome for attempt in answer.record.attempts] == ["rejected", "answered"]


def test_a_validator_that_raises_rejects(tuned: Target, frontier: Target, tmp_path: Path) -> None:
    def check(messages: object, answer: str) -> bool:
        if answer == "from tuned":
            raise RuntimeError
        return True

    with Router(tuned.endpoint(), fallback=frontier.endpoint(), validator=check, folder=tmp_path) as router:
        record = router.complete("?").record
    assert (record.arm, record.fallback_reason, record.accepted) == ("fallback", "validator", True)


def test_an_answer_that_was_cut_is_delivered_where_nobody_has_a_whole_one(tuned: Target, tmp_path: Path) -> None:
    tuned.behaviour = "cut"
    with Router(tuned.endpoint(), folder=tmp_path) as router:
        answer = router.complete("?")
    assert answer.record.finish_reason == "length"
    assert answer.record.accepted is False


def test_a_target_is_asked_in_its_own_words(tuned: Target, tmp_path: Path) -> None:
    endpoint = tuned.endpoint(limit_parameter="max_completion_tokens", sends_temperature=False)
    with Router(endpoint, folder=tmp_path) as router:
        router.complete("?", max_tokens=7, temperature=0)
    assert tuned.asked[0]["max_completion_tokens"] == 7
    assert not {"max_tokens", "temperature"} & set(tuned.asked[0])


def test_observers_hear_of_answers_and_one_that_fails_costs_nothing(tuned: Target, tmp_path: Path) -> None:
    class Broken:
        def answered(self, record: object, **_: object) -> None:
            raise RuntimeError

    class Hears:
        texts: list[str | None] = []  # noqa: RUF012

        def answered(self, record: object, *, messages: object, answer: str | None) -> None:
            self.texts.append(answer)

        def metrics_page(self) -> tuple[bytes, str]:
            return b"answers 1\n", "text/plain"

    options: dict[str, Any] = {
        "observers": [Broken(), Hears()],
        "measure": lambda messages, answer: {"length": len(answer)},
    }
    with Router(tuned.endpoint(), folder=tmp_path, **options) as router:
        metrics = httpx.get(router.start().removesuffix("/v1") + "/metrics")
        assert router.complete("?").record.measures == {"length": 10}
    assert Hears.texts == ["from tuned"]
    assert (metrics.text, metrics.headers["content-type"]) == ("answers 1\n", "text/plain")


def test_a_port_that_is_taken_is_told(tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint(), folder=tmp_path) as router, pytest.raises(SpecError, match="can't be listened at"):
        router.start(port=tuned.port)


def test_impossible_configurations_are_refused(tuned: Target) -> None:
    with pytest.raises(SpecError, match="something to compare with"):
        Router(tuned.endpoint(), canary=0.1)
    with pytest.raises(SpecError, match="price of fallback"):
        Router(tuned.endpoint(), fallback=tuned.endpoint(), fallback_usd_per_hour=1)
    with pytest.raises(SpecError, match="at most one canary"):
        Router(dict.fromkeys("abc", tuned.endpoint()))
    with pytest.raises(SpecError, match="can't name"):
        Router({"../x": tuned.endpoint()})
