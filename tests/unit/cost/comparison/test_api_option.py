"""What an API bills besides its two prices: caches, reasoning, context windows, and prices that can't be right."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from ftsdk.cost import Api, PriceBook, Workload
from ftsdk.cost.comparison.api_option import api_option
from ftsdk.cost.comparison.options import MONTH_S, PerToken
from ftsdk.errors import SpecError

pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")

BOOK = PriceBook.load(today=date(2026, 11, 23))
LONG = Workload(requests_per_month=1e6, input_tokens=10_000, output_tokens=100, cached_input_share=0.9)


def option(api: Api | str, workload: Workload = LONG) -> tuple[PerToken, str]:
    found, notes = api_option("api", Api(model=api) if isinstance(api, str) else api, workload, BOOK)
    return found, "\n".join(notes)


def test_a_warm_cache_bills_the_cached_price() -> None:
    found, _ = option("anthropic/claude-haiku-4-5")
    assert found.request_usd(1e9) == pytest.approx((1000 * 1 + 9000 * 0.1 + 100 * 5) / 1e6)


def test_rare_requests_pay_for_writing_the_cache() -> None:
    found, _ = option("anthropic/claude-haiku-4-5")
    assert found.request_usd(1.0) == pytest.approx((1000 * 1 + 9000 * 1.25 + 100 * 5) / 1e6, rel=1e-3)
    assert "$1.25 to put it there" in found.detail
    every_five_minutes = found.request_usd(MONTH_S / 300)
    assert found.request_usd(1e9) < every_five_minutes < found.request_usd(1.0)


@pytest.mark.parametrize(
    ("model", "least"),
    [
        ("anthropic/claude-haiku-4-5", 4096),
        ("anthropic/claude-opus-4-7", 2048),
        ("anthropic/claude-opus-5", 512),
        ("openai/gpt-4o-mini", 1024),
        ("google/gemini-3.8-flash", 4096),
    ],
)
def test_a_shared_part_below_the_minimum_is_not_cached(model: str, least: int) -> None:
    ratio: dict[str, Any] = {"tokenizer_ratio": 1.0}
    short = LONG.replace(input_tokens=(least - 1) / 0.9)
    cold, notes = option(Api(model=model, **ratio), short)
    plain, _ = option(Api(model=model, **ratio), short.replace(cached_input_share=0.0))
    assert cold.request_usd(1e9) == pytest.approx(plain.request_usd(1e9))
    assert f"only {least:,} and more" in notes
    warm, _ = option(Api(model=model, **ratio), LONG.replace(input_tokens=(least + 1) / 0.9))
    assert "cached (90% of the prompt" in warm.detail


def test_an_api_without_a_cached_price_says_so() -> None:
    given = Api(model="acme/one", input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2))
    found, notes = option(given)
    assert "no price for cached input" in notes
    assert found.request_usd(1e9) == pytest.approx((10_000 * 1 + 100 * 2) / 1e6)


def test_reasoning_tokens_are_billed_as_output() -> None:
    plain, notes = option("openai/gpt-6-luna")
    reasoned, counted = option(Api(model="openai/gpt-6-luna", reasoning_tokens=1000))
    assert reasoned.request_usd(1e9) - plain.request_usd(1e9) == pytest.approx(1000 * 0.5 / 1e6)
    assert "reasoning tokens are billed as output" in notes
    assert "billed as output" not in counted
    assert "1000 reasoning tokens each" in reasoned.detail
    assert "reason" not in option("openai/gpt-4o-mini")[1]


def test_a_prompt_longer_than_the_context_window_is_refused() -> None:
    with pytest.raises(SpecError, match=r"doesn't fit the context window of openai/gpt-4o-mini, 128,000"):
        option("openai/gpt-4o-mini", LONG.replace(input_tokens=128_000.0))
    with pytest.raises(SpecError, match="context window"):
        option(Api(model="openai/gpt-4o-mini", reasoning_tokens=120_000))
    assert "fills 78% of it" in option("openai/gpt-4o-mini", LONG.replace(input_tokens=100_000.0))[1]
    assert "context" not in option("openai/gpt-4o-mini")[1]


@pytest.mark.parametrize("usd", ["0.0000025", "60000"])
def test_a_price_of_an_unusual_size_is_reported(usd: str) -> None:
    given = Api(model="acme/one", input_usd_per_mtok=Decimal(usd), output_usd_per_mtok=Decimal(2))
    assert "the usual range of usd_per_1m_tokens" in option(given)[1]


@pytest.mark.parametrize("usd", [0, -1, float("nan"), float("inf")])
def test_an_impossible_price_is_refused(usd: Any) -> None:
    with pytest.raises(SpecError):
        Api(model="acme/one", input_usd_per_mtok=usd, output_usd_per_mtok=Decimal(1))
