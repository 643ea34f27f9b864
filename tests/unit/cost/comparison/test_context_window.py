"""Requests that don't fit the own model's context window: refused as at an API."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ftsdk.cost import Api, ModelShape, PriceBook, SelfHosted, Workload, crossover
from ftsdk.errors import SpecError

pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")

BOOK = PriceBook.load(today=date(2026, 11, 23))


def notes_of(own: SelfHosted, *, input_tokens: float) -> str:
    workload = Workload(requests_per_month=1e6, input_tokens=input_tokens, output_tokens=100)
    api = Api(model="anthropic/claude-haiku-4-5")
    return "\n".join(crossover(workload=workload, api=api, self_hosted=own, book=BOOK).notes)


def own(**changes: Any) -> SelfHosted:
    fields: dict[str, Any] = {"model": "meta-llama/Meta-Llama-3-8B", "gpu": "H100", "provider": "runpod", **changes}
    return SelfHosted(**fields)


def test_a_mean_request_beyond_the_window_is_refused() -> None:
    with pytest.raises(SpecError, match=r"9,100 tokens doesn't fit the context window of .*Llama-3-8B, 8,192"):
        notes_of(own(), input_tokens=9000)
    with pytest.raises(SpecError, match="context window"):
        notes_of(own(reasoning_tokens=8000.0), input_tokens=1000)


def test_a_mean_request_near_the_window_is_noted() -> None:
    assert "context window of 8,192 tokens, and the mean request fills 87%" in notes_of(own(), input_tokens=7000)
    assert "context window" not in notes_of(own(), input_tokens=600)


def test_a_longer_window_can_be_stated() -> None:
    assert "context window" not in notes_of(own(context_tokens=32_768), input_tokens=9000)


def test_a_model_without_a_known_window_is_not_judged() -> None:
    shape = ModelShape(name="own", params_b=8, layers=32, kv_heads=8, head_dim=128)
    assert "context window" not in notes_of(own(model="org/own", shape=shape), input_tokens=9000)
