"""What tokens cost at an API: the book's own rows first, then the data of the package genai-prices.

Nothing is guessed, nothing is free.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from ftsdk.cost.pricebook.api_price import ApiPrice, ApiTier
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.genai_prices_data import context_tokens, packaged_price
from ftsdk.cost.pricebook.price import Price
from ftsdk.errors import SpecError

__all__ = ["API_PARTS", "ApiPrice", "api_price"]

API_PARTS = ("input", "cached_input", "cache_write", "output")
"""The last part of an API price's sku: `api/<model>/input`."""


def api_price(
    model_ref: str, *, on: date | None = None, batch: bool = False, book: PriceBook | None = None
) -> ApiPrice:
    """Return the price of a model at an API.

    Rows `api/<model>/input`, `/output`, `/cached_input` and `/cache_write` of the price book win over genai-prices.

    Args:
        model_ref: Provider and model, such as `anthropic/claude-haiku-4-5`. A dated name of the same model is the same
            model; another model with a similar name isn't.
        on: The day; None is the book's today. Announced prices count from their first day.
        batch: The price of the provider's batch API.
        book: The prices; None loads all layers.

    Raises:
        SpecError: Provider or model isn't known, has no such price, or is listed without one: names the nearest.
        MissingExtraError: The package genai-prices isn't installed.
    """
    book = PriceBook.load() if book is None else book  # an empty one is a book too
    day = on or book.today
    provider, _, model = model_ref.partition("/")
    if not model:
        raise SpecError(
            f"{model_ref!r} doesn't say whose API; write it as provider/model, such as 'anthropic/claude-haiku-4-5'"
        )
    own = _from_book(book, provider, model, day, batch=batch)
    return own if own is not None else packaged_price(book, provider, model, day, batch=batch)


def _from_book(book: PriceBook, provider: str, model: str, day: date, *, batch: bool) -> ApiPrice | None:
    rows = {part: book.find(provider, f"api/{model}/{part}", on=day) for part in API_PARTS}
    given, taken = rows["input"], rows["output"]
    if all(row is None for row in rows.values()):
        return None
    if given is None or taken is None:
        missing = "input" if given is None else "output"
        raise SpecError(
            f"the price book has a row of {provider} api/{model}/* but none in force for {missing}; add it: ftsdk "
            "prices add"
        )
    amounts = {part: _amount(row, batch=batch) for part, row in rows.items() if row is not None}
    if any(amount is None for part, amount in amounts.items() if part in ("input", "output")):
        raise SpecError(
            f"{provider}/{model} has no batch price in the price book; ask for the standard price, or add usd_batch to "
            "its rows"
        )
    cliffs = sorted({tier.above_input_tokens for row in rows.values() if row is not None for tier in row.tiers})
    return ApiPrice(
        provider=provider,
        model=model,
        **_rates(amounts),
        context_tokens=context_tokens(provider, model),
        is_batch=batch,
        tiers=tuple(
            ApiTier(
                above_input_tokens=cliff,
                **_rates({part: _amount(row, batch=batch, above=cliff) for part, row in rows.items() if row}),
            )
            for cliff in cliffs
        ),
        source=given.source,
        as_of=min(given.as_of, taken.as_of),
        layer=given.layer,
        note="; ".join(filter(None, [given.note, *book.conflicts_about(provider, given.sku)])) or None,
    )


def _amount(row: Price, *, batch: bool, above: int = 0) -> Decimal | None:
    standard = row.usd_in("usd_per_1m_tokens")
    reached = [tier for tier in row.tiers if tier.above_input_tokens <= above]
    if reached:
        last = max(reached, key=lambda tier: tier.above_input_tokens)
        return last.usd_batch if batch else last.usd
    return row.usd_batch if batch else standard


def _rates(amounts: dict[str, Decimal | None]) -> dict[str, Any]:
    return {f"{part}_usd_per_mtok": amount for part, amount in amounts.items()}
