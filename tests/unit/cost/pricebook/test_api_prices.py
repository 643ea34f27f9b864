"""API prices: the traps of the package they come from are errors here, and nothing is free."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prices import TODAY, a_price

from ftsdk.cost import ApiPrice, PriceBook, api_price
from ftsdk.errors import SpecError

genai_prices = pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")

EMPTY = PriceBook((), today=TODAY)
HAIKU = api_price("anthropic/claude-haiku-5-5", book=EMPTY)


def test_a_price_has_amounts_source_and_day(book: PriceBook) -> None:
    price = api_price("anthropic/claude-haiku-4-5", book=book)
    assert (price.input_usd_per_mtok, price.cached_input_usd_per_mtok, price.output_usd_per_mtok) == (
        1,
        Decimal("0.1"),
        5,
    )
    assert "genai-prices" in price.source
    assert price.source.startswith("https://")
    assert date(2026, 11, 1) <= price.as_of <= TODAY
    assert "$5 out" in str(price)


def test_cached_tokens_are_part_of_the_input() -> None:
    assert HAIKU.cost_usd(input_tokens=1000, cached_input_tokens=800, output_tokens=100) == Decimal("0.000078")
    with pytest.raises(SpecError, match="includes the cached ones"):
        HAIKU.cost_usd(input_tokens=100, cached_input_tokens=101, output_tokens=0)


def test_a_tier_is_a_cliff_for_the_whole_request() -> None:
    below, above = (HAIKU.cost_usd(input_tokens=n, output_tokens=0) for n in (99_000, 101_000))
    assert (below, above) == (Decimal("0.0099"), Decimal("0.0505"))
    assert HAIKU.cost_usd(input_tokens=100_000, output_tokens=0) == Decimal("0.01")
    assert "more than 100,000 tokens in" in str(HAIKU)


@given(
    inputs=st.integers(0, 300_000),
    cached=st.floats(0, 1),
    output=st.integers(0, 10_000),
    batch=st.booleans(),
)
def test_we_compute_what_the_package_computes(inputs: int, cached: float, output: int, batch: bool) -> None:
    for model in ("anthropic/claude-haiku-5-5", "openai/gpt-6-luna"):
        provider, name = model.split("/")
        hit = int(inputs * cached)
        theirs = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=inputs, cache_read_tokens=hit, output_tokens=output),
            name,
            provider_id=provider,
            genai_request_timestamp=datetime(2026, 11, 23, tzinfo=UTC),
            price_context={"processing": "batch"} if batch else None,
        )
        ours = api_price(model, batch=batch, book=EMPTY).cost_usd(
            input_tokens=inputs, cached_input_tokens=hit, output_tokens=output
        )
        assert ours == theirs.total_price


@given(
    tokens=st.integers(0, 10**6),
    more=st.integers(0, 10**6),
    output=st.integers(0, 10**5),
    requests=st.integers(0, 10**6),
)
def test_cost_never_falls_when_tokens_or_requests_rise(tokens: int, more: int, output: int, requests: int) -> None:
    cost = HAIKU.cost_usd(input_tokens=tokens, output_tokens=output, requests=requests)
    assert HAIKU.cost_usd(input_tokens=tokens + more, output_tokens=output, requests=requests) >= cost
    assert HAIKU.cost_usd(input_tokens=tokens, output_tokens=output + more, requests=requests) >= cost
    assert HAIKU.cost_usd(input_tokens=tokens, output_tokens=output, requests=requests + more) >= cost


def test_batch_is_half_where_there_is_a_batch_price() -> None:
    batch = api_price("openai/gpt-4o", batch=True, book=EMPTY)
    assert (batch.input_usd_per_mtok, batch.output_usd_per_mtok, batch.is_batch) == (Decimal("1.25"), 5, True)
    assert "(batch)" in str(batch)


@pytest.mark.parametrize("model", ["openai/ft:gpt-4o-2024-08-06:org::abc", "google/gemini-3.5-flash", "azure/gpt-4o"])
def test_a_missing_batch_price_is_refused_not_replaced_by_the_standard_one(model: str) -> None:
    assert api_price(model, book=EMPTY).input_usd_per_mtok > 0
    with pytest.raises(SpecError, match="no batch price"):
        api_price(model, batch=True, book=EMPTY)


def test_a_batch_price_isnt_there_before_its_first_day() -> None:
    with pytest.raises(SpecError, match="no batch price on 2026-10-01"):
        api_price("openai/gpt-4o", batch=True, on=date(2026, 10, 1), book=EMPTY)


def test_a_fine_tuned_model_is_known_by_its_full_id_only() -> None:
    assert api_price("openai/ft:gpt-4o-2024-08-06:org::abc", book=EMPTY).input_usd_per_mtok == Decimal("3.75")
    assert api_price(
        "openai/ft:gpt-4o-mini-2024-07-18:org::abc", batch=True, book=EMPTY
    ).output_usd_per_mtok == Decimal("0.6")
    with pytest.raises(SpecError, match="by its full id only"):
        api_price("openai/ft:gpt-4o", book=EMPTY)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("anthropic/claude-opus-4-99", "'anthropic/claude-opus-4-"),
        ("anthropic/claude-haiku-6", "'anthropic/claude-haiku-5-5'"),
        ("openai/gpt-4o-ultra", "'openai/gpt-4o'"),
        ("anthropic/claude-haiku-5.5-max", "claude-haiku-5-5"),
        ("openai/gpt-nonsense", "no model"),
        ("antropic/claude-haiku-4-5", "did you mean 'anthropic'"),
        ("gpt-4o", "provider/model"),
        ("openai/", "provider/model"),
    ],
)
def test_an_unknown_model_names_the_nearest_and_gets_no_relatives_price(model: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        api_price(model, book=EMPTY)
    assert says in str(caught.value)


@pytest.mark.parametrize("ending", ["-zzz", "-9", "9", "-ultra", "-pro", "-mini", "-4-7"])
def test_no_ending_that_the_package_doesnt_list_gets_a_models_price(ending: str) -> None:
    """Over the models of the providers that are asked for most."""
    for provider in ("anthropic", "openai", "google", "together", "fireworks"):
        models = next(one for one in genai_prices.data_snapshot.get_snapshot().providers if one.id == provider).models
        listed = {name for model in models for name in _listed(model.match)} | {model.id for model in models}
        for model in models:
            if f"{model.id}{ending}" not in listed and not model.id.startswith("ft:"):
                with pytest.raises(SpecError, match="no model"):
                    api_price(f"{provider}/{model.id}{ending}", book=EMPTY)


def _listed(clause: Any) -> list[str]:
    members = [*getattr(clause, "or_", ()), *getattr(clause, "and_", ())]
    return [
        getattr(clause, "equals", "") or getattr(clause, "starts_with", ""),
        *(name for member in members for name in _listed(member)),
    ]


@pytest.mark.parametrize(
    "model",
    ["anthropic/claude-haiku-4-5-20251001", "anthropic/claude-haiku-5-5@20261001", "anthropic/claude-haiku-5.5"],
)
def test_a_dated_or_dotted_name_of_a_model_is_that_model(model: str) -> None:
    family = "claude-haiku-4-5" if "4-5" in model else "claude-haiku-5-5"
    assert (
        api_price(model, book=EMPTY).output_usd_per_mtok
        == api_price(f"anthropic/{family}", book=EMPTY).output_usd_per_mtok
    )


@pytest.mark.parametrize(
    "model", ["openrouter/meta-llama/llama-3.3-70b-instruct:free", "openai/text-embedding-3-small"]
)
def test_nothing_costs_nothing(model: str) -> None:
    with pytest.raises(SpecError, match="nothing is taken to cost 0"):
        api_price(model, book=EMPTY)


def test_announced_prices_count_from_their_first_day() -> None:
    prices = [
        api_price("google/gemini-3.8-flash", on=day, book=EMPTY).input_usd_per_mtok
        for day in (date(2026, 12, 31), date(2027, 1, 1))
    ]
    assert prices == [Decimal("0.75"), Decimal("1.5")]


def test_a_price_that_varies_by_hour_is_the_dearest_and_says_so() -> None:
    price = api_price("deepseek/deepseek-chat", book=EMPTY)
    assert "varies by hour" in (price.note or "")


def test_the_book_wins_over_the_package_and_tells_of_the_conflict(book: PriceBook) -> None:
    model = "together/meta-llama/Llama-3.3-70B-Instruct-Turbo"
    assert api_price(model, book=EMPTY).input_usd_per_mtok == Decimal("0.88")
    ours = api_price(model, book=book)
    assert ours.input_usd_per_mtok == Decimal("1.04")
    assert "0.88 in genai-prices" in (ours.note or "")
    assert "0.20 in a public note" in (api_price("anthropic/claude-sonnet-5-5", book=book).note or "")


def own(**changes: Any) -> list[Any]:
    parts = {"input": 1, "output": 3, "cached_input": 0.2}
    return [
        a_price(sku=f"api/secret/{part}", unit="usd_per_1m_tokens", usd=usd, layer="user", **changes)
        for part, usd in parts.items()
    ]


def test_a_model_that_only_the_user_knows_has_the_users_price() -> None:
    price = api_price("acme/secret", book=PriceBook(own(), today=TODAY))
    assert (price.input_usd_per_mtok, price.cached_input_usd_per_mtok, price.output_usd_per_mtok, price.layer) == (
        1,
        Decimal("0.2"),
        3,
        "user",
    )


def test_half_a_price_is_refused() -> None:
    with pytest.raises(SpecError, match="none in force for output"):
        api_price("acme/secret", book=PriceBook(own()[:1], today=TODAY))
    with pytest.raises(SpecError, match="no batch price in the price book"):
        api_price("acme/secret", batch=True, book=PriceBook(own(), today=TODAY))


def test_the_books_own_tiers_and_batch_prices_are_kept() -> None:
    rows = own(usd_batch=0.1, tiers=[{"above_input_tokens": 1000, "usd": 9, "usd_batch": 4}])
    book = PriceBook(rows, today=TODAY)
    assert api_price("acme/secret", book=book).cost_usd(input_tokens=2000, output_tokens=0) == Decimal("0.018")
    assert api_price("acme/secret", batch=True, book=book).cost_usd(input_tokens=2000, output_tokens=0) == Decimal(
        "0.008"
    )


def test_a_count_below_zero_is_refused() -> None:
    with pytest.raises(SpecError, match="output_tokens is a count"):
        HAIKU.cost_usd(input_tokens=1, output_tokens=-1)


def test_without_a_known_cache_price_cached_tokens_cost_as_much_as_others() -> None:
    price = ApiPrice(provider="a", model="b", input_usd_per_mtok=1, output_usd_per_mtok=1, source="s", as_of=TODAY)
    assert price.cost_usd(input_tokens=10**6, cached_input_tokens=10**6, output_tokens=0) == 1
