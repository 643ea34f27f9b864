"""The price of a token of training: by name, else by size, else as a bound that says it is one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from prices import TODAY, a_price

from ftsdk import DPO, FullFineTune
from ftsdk.cost import PriceBook
from ftsdk.cost.pricebook.finetune_prices import Tuning, finetune_minimum, finetune_price, kind_of
from ftsdk.testing import a_spec


@pytest.mark.parametrize(
    ("model", "billion", "method", "tuning", "usd", "is_bound"),
    [
        ("Qwen/Qwen3.5-9B", 9, "sft", "lora", "0.34", False),
        ("meta-llama/Llama-3.3-70B-Instruct", 70, "sft", "lora", "2.03", False),
        ("Qwen/Qwen3.5-4B", 4, "sft", "lora", "0.34", False),
        ("Qwen/Qwen3.5-9B", 9, "sft", "full", "0.54", True),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46.7, "sft", "lora", "1.5", True),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 109, "sft", "lora", "3", True),
        ("deepseek-ai/DeepSeek-V3.1", 671, "dpo", "lora", "17.5", True),
    ],
)
def test_together_is_asked_by_name_then_by_size_then_for_a_bound(
    book: PriceBook, model: str, billion: float, method: str, tuning: Tuning, usd: str, is_bound: bool
) -> None:
    found = finetune_price(book, "together", model, method=method, tuning=tuning, billion=billion)
    assert found is not None
    assert (found.usd, found.is_upper_bound) == (Decimal(usd), is_bound)


def test_a_price_read_by_size_comes_with_its_upper_bound(book: PriceBook) -> None:
    found = finetune_price(book, "together", "meta-llama/Llama-3.1-8B-Instruct", method="sft", tuning="lora", billion=8)
    assert found is not None
    assert found.at_most is not None
    assert (found.usd, found.at_most.usd) == (Decimal("0.34"), Decimal("0.48"))


def test_what_no_source_tells_is_none_and_not_a_guess(book: PriceBook) -> None:
    assert finetune_price(book, "together", "who/knows", method="sft", tuning="lora") is None
    assert finetune_price(book, "together", "openai/gpt-oss-120b", method="sft", tuning="full", billion=117) is None


def test_the_least_that_a_job_costs_is_the_models_own_or_the_services(book: PriceBook) -> None:
    by_model = [
        finetune_minimum(book, "together", model) for model in ("deepseek-ai/DeepSeek-V3.1", "Qwen/Qwen3.5-9B", None)
    ]
    assert [price and price.usd for price in by_model] == [20, 4, 4]
    assert finetune_minimum(book, "runpod", None) is None


def test_the_smallest_bracket_that_fits_counts() -> None:
    rows = [
        a_price(sku=f"ft/lora-sft/{name}", usd=usd, max_billion=most)
        for name, usd, most in (("all", 9, 100), ("small", 1, 16))
    ]
    book = PriceBook(rows, today=TODAY)
    found = [
        finetune_price(book, "acme", "m", method="sft", tuning="lora", billion=size) for size in (7, 16.4, 17.5, 200)
    ]
    assert [one and one.usd for one in found] == [1, 1, 9, None]


def test_a_price_of_ones_own_wins(book: PriceBook) -> None:
    mine = a_price(provider="together", sku="ft/lora-sft/Qwen/Qwen3.5-9B", usd=0.2)
    found = finetune_price(
        PriceBook.load(overrides=[mine], today=TODAY),
        "together",
        "Qwen/Qwen3.5-9B",
        method="sft",
        tuning="lora",
        billion=9,
    )
    assert found is not None
    assert (found.usd, found.price.layer) == (Decimal("0.2"), "call")


def test_a_spec_is_named_in_the_words_of_the_book() -> None:
    assert (kind_of(a_spec()), kind_of(a_spec(method=DPO(), tuning=FullFineTune()))) == (
        ("sft", "lora"),
        ("dpo", "full"),
    )
