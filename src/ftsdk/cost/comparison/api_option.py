"""An API as an option of a crossover: its price looked up, its tokens counted."""

from __future__ import annotations

import re

from ftsdk.cost.comparison.context_window import context_notes
from ftsdk.cost.comparison.options import PerToken
from ftsdk.cost.comparison.sourced_price import age_notes
from ftsdk.cost.comparison.workload import Api, Workload
from ftsdk.cost.pricebook.api_facts import PromptCache, prompt_cache, reasons_by_default
from ftsdk.cost.pricebook.api_price import ApiPrice, ApiTier
from ftsdk.cost.pricebook.api_prices import api_price
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.genai_prices_data import context_tokens
from ftsdk.cost.pricebook.price import rate
from ftsdk.cost.pricebook.usual_prices import unusual_price
from ftsdk.errors import SpecError

__all__ = ["api_option"]

_CACHE_LIFETIME_S = 300.0
"""Where no source says how long a prompt stays in the cache: as at those of which it is known."""


def api_option(name: str, api: Api, workload: Workload, book: PriceBook) -> tuple[PerToken, tuple[str, ...]]:
    """Return an API with its cost of one request, and notes on its price.

    Raises:
        SpecError: Its price isn't known, only half of it was given, or the requests don't fit its context window.
        MissingExtraError: The package with API prices isn't installed.
    """
    ratio, notes = _tokenizer_ratio(api)
    price = _price(api, book)
    tokens_in = workload.input_tokens * ratio
    tokens_out = workload.output_tokens * ratio + (api.reasoning_tokens or 0)
    notes += context_notes(api.model, price.context_tokens, tokens_in + tokens_out, advice="name another API")
    notes += _reasoning_notes(api) + _unusual_notes(api.model, price)
    rates = price.at(round(tokens_in))
    share, cache, cache_notes = _cached_share(api, workload, rates, tokens_in)
    notes += cache_notes
    cached_rate = rates.cached_input_usd_per_mtok or rates.input_usd_per_mtok
    write_rate = rates.cache_write_usd_per_mtok or rates.input_usd_per_mtok
    per_mtok = tokens_in * ((1 - share) * float(rates.input_usd_per_mtok) + share * float(cached_rate))
    per_mtok += tokens_out * float(rates.output_usd_per_mtok)
    cached = ""
    if share:
        cached = f", {rate(cached_rate)} cached ({share:.0%} of the prompt; {rate(write_rate)} to put it there)"
    more = f", {ratio:g} x the tokens" if ratio != 1 else ""
    reasoned = f", {api.reasoning_tokens:g} reasoning tokens each" if api.reasoning_tokens else ""
    retried = f", {api.retry_share:.0%} sent again" if api.retry_share else ""
    if rates is not price:
        notes += (
            f"{api.model}: prompts of this length are billed at the higher tier as a whole, "
            f"{rate(rates.input_usd_per_mtok)} per million tokens in",
        )
    if price.note:
        notes += (f"{api.model}: {price.note}",)
    sent = (1 + api.retry_share) / 1e6
    option = PerToken(
        name=name,
        label=api.model + (" (batch)" if api.is_batch else ""),
        usd_per_request=sent * per_mtok,
        cache_miss_usd=sent * tokens_in * share * float(write_rate - cached_rate),
        cache_lifetime_s=_CACHE_LIFETIME_S if cache is None else cache.lifetime_s,
        detail=(
            f"{rate(rates.input_usd_per_mtok)} in{cached}, {rate(rates.output_usd_per_mtok)} out per million "
            f"tokens{more}{reasoned}{retried}"
        ),
        source=price.source,
        as_of=str(price.as_of),
        accepted=api.accepted,
    )
    return option, (*notes, *age_notes(api.model, (book.today - price.as_of).days))


def _reasoning_notes(api: Api) -> tuple[str, ...]:
    if api.reasoning_tokens is not None or not reasons_by_default(api.model):
        return ()
    return (
        f"{api.model} reasons before it answers unless that is switched off, and its reasoning tokens are billed as "
        "output; none are counted: measure them and set Api(reasoning_tokens=...)",
    )


def _unusual_notes(model: str, price: ApiPrice) -> tuple[str, ...]:
    amounts = {"in": price.input_usd_per_mtok, "out": price.output_usd_per_mtok}
    odd = {part: unusual_price(usd, "usd_per_1m_tokens") for part, usd in amounts.items()}
    return tuple(
        f"{model}: {rate(amounts[part])} per million tokens {part} is {what}" for part, what in odd.items() if what
    )


def _cached_share(
    api: Api, workload: Workload, rates: ApiPrice | ApiTier, tokens_in: float
) -> tuple[float, PromptCache | None, tuple[str, ...]]:
    """Return the share of the prompt that can be cached, how, and why not."""
    share, cache = workload.cached_input_share, prompt_cache(api.model)
    if not share:
        return 0.0, cache, ()
    if rates.cached_input_usd_per_mtok is None:
        return 0.0, cache, (f"{api.model} has no price for cached input: the whole prompt is billed as new",)
    shared = share * tokens_in
    if cache is not None and shared < cache.least_tokens:
        note = (
            f"{api.model} doesn't cache a shared part of {shared:,.0f} tokens, only {cache.least_tokens:,} and more "
            f"({cache.source}, {cache.as_of}): the whole prompt is billed as new"
        )
        return 0.0, cache, (note,)
    return share, cache, ()


def _price(api: Api, book: PriceBook) -> ApiPrice:
    if api.input_usd_per_mtok is None and api.output_usd_per_mtok is None:
        return api_price(api.model, batch=api.is_batch, book=book)
    if api.input_usd_per_mtok is None or api.output_usd_per_mtok is None:
        raise SpecError(
            f"only half of the price of {api.model} is given: set both input_usd_per_mtok and output_usd_per_mtok, or "
            "neither"
        )
    provider, _, model = api.model.rpartition("/")
    return ApiPrice(
        provider=provider or "given",
        model=model,
        input_usd_per_mtok=api.input_usd_per_mtok,
        output_usd_per_mtok=api.output_usd_per_mtok,
        cached_input_usd_per_mtok=api.cached_input_usd_per_mtok,
        cache_write_usd_per_mtok=api.cache_write_usd_per_mtok,
        context_tokens=context_tokens(provider, model),
        is_batch=api.is_batch,
        source=api.source,
        as_of=book.today,
        layer="call",
    )


def _tokenizer_ratio(api: Api) -> tuple[float, tuple[str, ...]]:
    """Return the API's tokens over your own model's.

    Claude models from 4.7 on make about 30% more (public notes, 2026).
    """
    if api.tokenizer_ratio is not None:
        return api.tokenizer_ratio, ()
    found = re.fullmatch(r"anthropic/claude-[a-z]+-(\d)(?:-(\d))?(?:-\d{8})?", api.model)
    if found and (int(found[1]), int(found[2] or 0)) >= (4, 7):
        note = (
            f"{api.model} is assumed to make 30% more tokens of the same text than other tokenizers; measure it and "
            "set Api(tokenizer_ratio=...)"
        )
        return 1.3, (note,)
    return 1.0, ()
