"""Targets that repeat the router's key wherever they can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from routed_targets import Target, completion

from ftsdk import Router
from ftsdk.deploy.monitor import Monitor
from ftsdk.deploy.traffic import TrafficFolder

KEY = "zq-7c1fa2b9d3e5/Xy"


class Echo:
    """An answer that has the key everywhere, in several forms."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def answered(self, record: Any, *, messages: Any, answer: str | None) -> None:
        self.given.append(repr(record) + str(answer))


def echoing(body: dict[str, Any]) -> dict[str, Any]:
    answer = completion(f"you sent {KEY}", finish=f"stop {KEY}")
    return {**answer, "id": f"chatcmpl-{KEY}", "model": f"Bearer {KEY}", "debug": {"key": KEY.replace("/", "%2F")}}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_key_in_an_answer_reaches_nobody(
    streamed: bool, tuned: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTE_ACCESS", KEY)
    pytest.importorskip("opentelemetry", reason="the extra 'telemetry' isn't installed")
    pytest.importorskip("prometheus_client", reason="the extra 'telemetry' isn't installed")
    from ftsdk.deploy.telemetry import Telemetry

    tuned.behaviour = "ok" if streamed else echoing
    tuned.text = f"you sent {KEY} twice"
    heard = Echo()
    observers = [heard, Telemetry(), TrafficFolder(tmp_path / "traffic")]
    with Router(tuned.endpoint(api_key_env="ROUTE_ACCESS"), folder=tmp_path / "route", observers=observers) as router:
        address = router.start()
        body = {"messages": [{"role": "user", "content": "Where?"}], "stream": streamed}
        answer = httpx.post(f"{address}/chat/completions", json=body, timeout=60)
        pages = [httpx.get(address.removesuffix("v1") + page, timeout=60).text for page in ("status", "metrics")]
    report = Monitor(tmp_path / "route").report()
    pages += [str(report), report.to_html(), json.dumps(report.to_dict()), *heard.given, str(answer.headers)]
    pages += [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    assert answer.status_code == 200
    assert "you sent ***" in "".join(_words(answer, streamed))
    assert not [page for page in (answer.text, *pages) if KEY in page or KEY.replace("/", "\\/") in page]


def _words(answer: httpx.Response, streamed: bool) -> list[str]:
    if not streamed:
        return [answer.json()["choices"][0]["message"]["content"]]
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    return [event["choices"][0]["delta"].get("content", "") for event in events if event["choices"]]


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_a_key_in_an_error_reaches_nobody(
    status: int, tuned: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTE_ACCESS", KEY)
    tuned.behaviour = status  # with the header of the request in its message
    with Router(tuned.endpoint(api_key_env="ROUTE_ACCESS"), folder=tmp_path) as router:
        body = {"messages": [{"role": "user", "content": "Where?"}]}
        answer = httpx.post(f"{router.start()}/chat/completions", json=body, timeout=60)
    assert answer.status_code >= 400
    assert KEY not in answer.text
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and KEY in file.read_text()]
