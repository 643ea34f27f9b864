"""Web pages, and requests that mean something else to a target than to the router."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from routed_targets import Target

from ftsdk import Router, SpecError

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
ASKED = json.dumps({"messages": MESSAGES}).encode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain", "Origin": "https://evil.example"}, 403),
        ({"Content-Type": "application/json", "Origin": "null"}, 403),
        ({"Content-Type": "application/json", "Origin": "http://127.0.0.1:1"}, 403),
        ({"Content-Type": "application/json", "Host": "evil.example"}, 403),
        ({"Content-Type": "application/json", "Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Content-Type": "application/json", "Host": "[::1"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
    ],
)
def test_a_web_page_cannot_spend_money(headers: dict[str, str], status: int, tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint(), folder=tmp_path) as router:
        address = router.start()
        found = httpx.post(f"{address}/chat/completions", content=ASKED, headers=headers)
        told = httpx.post(f"{address}/feedback", content=b'{"id": "x", "accepted": true}', headers=headers)
    assert (found.status_code, told.status_code) == (status, status)
    assert tuned.asked == []


@pytest.mark.parametrize("path", ["status", "metrics", "health", "v1/models"])
def test_a_page_with_our_address_under_its_own_name_reads_nothing(path: str, tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint(), folder=tmp_path) as router:
        url = f"{router.start().removesuffix('v1')}{path}"
        assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 403
        assert httpx.get(url, headers={"Host": "localhost:9"}).status_code != 403


def test_a_router_for_other_machines_takes_any_name(tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint(), folder=tmp_path) as router:
        address = router.start(host="0.0.0.0").replace("0.0.0.0", "127.0.0.1")
        found = httpx.post(f"{address}/chat/completions", json={"messages": MESSAGES}, headers={"Host": "router.lan"})
    assert found.status_code == 200


@pytest.mark.parametrize(
    "odd",
    [
        *({"n": value} for value in ("5", 5.0, 0, -1, 129, True)),
        *({"max_tokens": value} for value in ("9", 1e9, 0, -1, 10**10, [])),
        {"max_completion_tokens": 2.0},
        *({"stream": value} for value in ("false", 1, [], "true")),
    ],
)
def test_amounts_that_can_be_read_in_two_ways_are_refused(odd: dict[str, Any], tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint(), folder=tmp_path) as router:
        found = httpx.post(f"{router.start()}/chat/completions", json={"messages": MESSAGES, **odd})
    assert found.status_code == 400
    assert next(iter(odd)) in found.json()["error"]["message"]
    assert tuned.asked == []


def test_all_answers_of_one_request_are_set_aside(tuned: Target, tmp_path: Path) -> None:
    # An output token is 0.002 dollars: 128 answers of 100 tokens are 25.6.
    with Router(tuned.priced(), folder=tmp_path, usd_per_day=25) as router:
        found = httpx.post(
            f"{router.start()}/chat/completions", json={"messages": MESSAGES, "n": 128, "max_tokens": 100}
        )
    assert found.json()["error"]["code"] == "budget"
    assert tuned.asked == []


def test_a_program_is_told_that_complete_does_not_stream(tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint(), folder=tmp_path) as router, pytest.raises(SpecError, match="whole answers"):
        router.complete("Where?", stream=True)
    assert tuned.asked == []
