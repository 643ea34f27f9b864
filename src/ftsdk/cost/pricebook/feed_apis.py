"""Prices of API tokens in the JSON of genai-prices and of litellm."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, cast

from ftsdk._format import printable
from ftsdk.cost.pricebook.feed_row import BadRow, amount, is_free, known_provider, make_price
from ftsdk.cost.pricebook.price import Price
from ftsdk.errors import SpecError

__all__ = ["genai_prices_rows", "litellm_rows"]

_GENAI = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
}
_LITELLM = {
    "input": "input_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "output": "output_cost_per_token",
}
_TEXT_MODES = ("chat", "completion", "responses")
_MTOK = 1_000_000


def genai_prices_rows(data: list[Any], *, source: str, as_of: date) -> Iterator[Price | BadRow | None]:
    """Yield the prices of genai-prices' `data.json`, in force on `as_of`; None for a price of 0."""
    for provider in data:
        if not isinstance(provider, Mapping):
            yield BadRow(printable(repr(provider), 60), "isn't a provider")
            continue
        seller = cast("Mapping[str, Any]", provider)
        models = seller.get("models")
        for model in cast("list[Any]", models) if isinstance(models, list) else []:
            if isinstance(model, Mapping):
                yield from _genai_model(str(seller.get("id")), cast("Mapping[str, Any]", model), source, as_of)
            else:
                yield BadRow(printable(repr(model), 60), "isn't a model")


def _genai_model(seller: str, model: Mapping[str, Any], source: str, as_of: date) -> Iterator[Price | BadRow | None]:
    name, prices = str(model.get("id")), _in_force(model.get("prices"), as_of)
    batch = _variant(model.get("price_variants"), as_of)
    for part, key in _GENAI.items():
        base, tiers = _tiered(prices.get(key))
        if is_free(base):
            if part in ("input", "output"):
                yield None
            continue
        batch_base, batch_tiers = _tiered(batch.get(key))
        yield _price(
            known_provider(seller),
            name,
            part,
            base,
            1,
            batch=batch_base,
            tiers={start: (usd, batch_tiers.get(start)) for start, usd in tiers.items()},
            source=source,
            as_of=as_of,
        )


def litellm_rows(data: dict[str, Any], *, source: str, as_of: date) -> Iterator[Price | BadRow | None]:
    """Yield the prices of text models in litellm's `model_prices_and_context_window.json`; None for a price of 0."""
    for key, entry in data.items():
        if key == "sample_spec":
            continue
        if not isinstance(entry, Mapping):
            yield BadRow(printable(key, 60), "isn't a model")
            continue
        model = cast("Mapping[str, Any]", entry)
        if model.get("mode") not in _TEXT_MODES:
            continue
        theirs = str(model.get("litellm_provider"))
        name = key.removeprefix(f"{theirs}/")
        for part, field in _LITELLM.items():
            if is_free(model.get(field)):
                if part in ("input", "output"):
                    yield None
                continue
            tiers = {
                int(found[1]) * 1000: (usd, None)
                for other, usd in model.items()
                if (found := re.fullmatch(rf"{field}_above_(\d{{1,5}})k_tokens", other))
            }
            yield _price(
                known_provider(theirs),
                name,
                part,
                model[field],
                _MTOK,
                batch=model.get(f"{field}_batches"),
                tiers=tiers,
                source=source,
                as_of=as_of,
            )


def _price(
    provider: str,
    name: str,
    part: str,
    usd: Any,
    times: int,
    *,
    batch: Any,
    tiers: Mapping[int, tuple[Any, Any]],
    source: str,
    as_of: date,
) -> Price | BadRow:
    def maybe(value: Any) -> Decimal | None:
        return None if is_free(value) else amount(value, times)

    try:
        fields = {
            "usd": amount(usd, times),
            "usd_batch": maybe(batch),
            "tiers": [
                {"above_input_tokens": start, "usd": amount(one, times), "usd_batch": maybe(batched)}
                for start, (one, batched) in sorted(tiers.items())
            ],
        }
    except SpecError as error:
        return BadRow(printable(f"{provider} {name}/{part}", 120), str(error))
    sku = f"api/{name}/{part}"
    return make_price(provider, name, sku=sku, unit="usd_per_1m_tokens", source=source, as_of=as_of, **fields)


def _in_force(prices: Any, day: date) -> Mapping[str, Any]:
    """Return the prices of a model that are in force: the last whose constraint is met, as the feed defines it.

    Of prices by the hour the last counts, whatever the hour.
    """
    if isinstance(prices, Mapping):
        return cast("Mapping[str, Any]", prices)
    found: Mapping[str, Any] = {}
    for one in cast("list[Any]", prices) if isinstance(prices, list) else []:
        if not isinstance(one, Mapping):
            continue
        option = cast("Mapping[str, Any]", one)
        if _has_started(option.get("constraint"), day) and isinstance(option.get("prices"), Mapping):
            found = option["prices"]
    return found


def _variant(variants: Any, day: date) -> Mapping[str, Any]:
    """Return the prices of the batch API, if there are any."""
    found: Mapping[str, Any] = {}
    for one in cast("list[Any]", variants) if isinstance(variants, list) else []:
        option = cast("Mapping[str, Any]", one) if isinstance(one, Mapping) else {}
        is_batch = option.get("when") == {"processing": "batch"} and _has_started(option.get("constraint"), day)
        if is_batch and isinstance(option.get("prices"), Mapping):
            found = option["prices"]
    return found


def _has_started(constraint: Any, day: date) -> bool:
    start = cast("Mapping[str, Any]", constraint).get("start_date") if isinstance(constraint, Mapping) else None
    return not isinstance(start, str) or start <= day.isoformat()


def _tiered(price: Any) -> tuple[Any, dict[int, Any]]:
    """Return the base price, and those above so many input tokens."""
    if not isinstance(price, Mapping):
        return price, {}
    found = cast("Mapping[str, Any]", price)
    rows = found.get("tiers")
    tiers: dict[int, Any] = {}
    for row in cast("list[Any]", rows) if isinstance(rows, list) else []:
        tier = cast("Mapping[str, Any]", row) if isinstance(row, Mapping) else {}
        if isinstance(start := tier.get("start"), int) and not isinstance(start, bool) and start > 0:
            tiers[start] = tier.get("price")
    return found.get("base"), tiers
