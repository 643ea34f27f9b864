"""What tokens cost: given, or from a row of the price book."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from ftsdk import Endpoint, SpecError, TokenPrice
from ftsdk.cost.pricebook.api_price import ApiPrice


def test_tokens_are_billed_by_the_million() -> None:
    price = TokenPrice(input_usd_per_mtok=0.2, output_usd_per_mtok=0.8)
    assert price.usd(input_tokens=1_000_000, output_tokens=500_000) == Decimal("0.6")
    endpoint = Endpoint(url="https://api.example.com/v1", model="m", price=price)
    assert Endpoint.from_dict(endpoint.to_dict()) == endpoint
    for wrong in (-1, float("nan"), 1e9):
        with pytest.raises(SpecError):
            TokenPrice(input_usd_per_mtok=wrong, output_usd_per_mtok=1)


def test_a_row_of_the_price_book_is_a_price_with_its_source_and_day() -> None:
    row = ApiPrice(
        provider="p",
        model="m",
        input_usd_per_mtok=1,
        output_usd_per_mtok=5,
        source="https://p.example",
        as_of=date(2026, 11, 1),
    )
    price = row.token_price()
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (1, 5)
    assert price.source == "https://p.example, as of 2026-11-01"
