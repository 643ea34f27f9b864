"""An API as an option of a crossover: its price looked up, its tokens counted."""

from __future__ import annotations

import re

from ftsdk.cost.comparison.options import PerToken
from ftsdk.cost.comparison.sourced_price import age_notes
from ftsdk.cost.comparison.workload import Api, Workload
from ftsdk.cost.pricebook.api_prices import ApiPrice, api_price
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.errors import SpecError

__all__ = ["api_option"]


def api_option(name: str, api: Api, workload: Workload, book: PriceBook) -> tuple[PerToken, tuple[str, ...]]:
    """Return an API with its cost of one request, and notes on its price.

    Raises:
        SpecError: Its price isn't known, or only half of it was given.
        MissingExtraError: The package with API prices isn't installed.
    """
    ratio, notes = _tokenizer_ratio(api)
    price = _price(api, book)
    rates = price.at(round(workload.input_tokens * ratio))
    cached_rate = rates.cached_input_usd_per_mtok or rates.input_usd_per_mtok
    share = workload.cached_input_share
    per_mtok = workload.input_tokens * ((1 - share) * float(rates.input_usd_per_mtok) + share * float(cached_rate))
    per_mtok += workload.output_tokens * float(rates.output_usd_per_mtok)
    cached = f", ${cached_rate:f} cached ({share:.0%} of the prompt)" if share else ""
    more = f", {ratio:g} x the tokens" if ratio != 1 else ""
    retried = f", {api.retry_share:.0%} sent again" if api.retry_share else ""
    if rates is not price:
        notes += (
            f"{api.model}: prompts of this length are billed at the higher tier as a whole, "
            f"${rates.input_usd_per_mtok:f} per million tokens in",
        )
    if price.note:
        notes += (f"{api.model}: {price.note}",)
    option = PerToken(
        name=name,
        label=api.model + (" (batch)" if api.is_batch else ""),
        usd_per_request=(1 + api.retry_share) * ratio * per_mtok / 1e6,
        detail=(
            f"${rates.input_usd_per_mtok:f} in{cached}, ${rates.output_usd_per_mtok:f} out per million "
            f"tokens{more}{retried}"
        ),
        source=price.source,
        as_of=str(price.as_of),
        accepted=api.accepted,
    )
    return option, (*notes, *age_notes(api.model, (book.today - price.as_of).days))


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
        is_batch=api.is_batch,
        source=api.source,
        as_of=book.today,
        layer="call",
    )


def _tokenizer_ratio(api: Api) -> tuple[float, tuple[str, ...]]:
    """Return the API's tokens over your own model's.

    Claude models from 4.7 on make about 30 % more (public notes, 2026).
    """
    if api.tokenizer_ratio is not None:
        return api.tokenizer_ratio, ()
    found = re.fullmatch(r"anthropic/claude-[a-z]+-(\d)(?:-(\d))?(?:-\d{8})?", api.model)
    if found and (int(found[1]), int(found[2] or 0)) >= (4, 7):
        note = (
            f"{api.model} is assumed to make 30 % more tokens of the same text than other tokenizers; measure it and "
            "set Api(tokenizer_ratio=...)"
        )
        return 1.3, (note,)
    return 1.0, ()
