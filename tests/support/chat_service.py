"""A service on loopback whose answers a test writes, and endpoints of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chat_script import MODEL, MakeEndpoint, Script

from ftsdk import Endpoint, TokenPrice
from ftsdk.testing.together import TogetherService


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def service(script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherService]:
    with TogetherService(chat=script) as running:
        monkeypatch.setenv("TEACHER_KEY", running.key)
        yield running


@pytest.fixture
def make_endpoint(service: TogetherService) -> MakeEndpoint:
    def make(**options: Any) -> Endpoint:
        price = TokenPrice(input_usd_per_mtok=1, output_usd_per_mtok=10, source="a price list")
        given = {"price": price, "attempts": 3, "timeout_s": 5.0, "concurrency": 4, **options}
        return Endpoint(url=f"{service.base_url}/v1", model=MODEL, api_key_env="TEACHER_KEY", **given)

    return make
