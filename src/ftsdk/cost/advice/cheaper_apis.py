"""APIs that may do the job for less than the one that was named, or better than it.

To be tried before anything is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ftsdk.cost.advice.inputs import Alternative, Situation
from ftsdk.cost.comparison.api_option import api_option
from ftsdk.cost.comparison.workload import Api
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.errors import SpecError

__all__ = ["alternatives", "base_model"]

_WORTH_TRYING = Decimal("0.8")
"""An API that nobody measured is worth it below this share of the price."""


def alternatives(
    situation: Situation, *, small_apis: Sequence[str], open_apis: Sequence[str], book: PriceBook
) -> tuple[Alternative, ...]:
    """Return other APIs that may be used instead of the situation's, the best first.

    Those that were measured and are good enough come first, by price; if the API itself isn't good enough, they may
    cost more than it. Then come those that cost less and weren't measured, the same provider's before others'. Those
    that were measured and aren't good enough are left out, and so are all if the data may not leave.

    Args:
        situation: With the measured APIs in `other_apis`.
        small_apis: Small, current models that are worth trying.
        open_apis: The same of open models.
        book: Prices.

    Raises:
        SpecError: An API of the situation has no price.
    """
    if situation.must_self_host:
        return ()
    own = situation.api if isinstance(situation.api, Api) else Api(model=situation.api)
    limit = _WORTH_TRYING * _priced(own, situation, book).usd_per_month
    named = [api if isinstance(api, Api) else Api(model=api) for api in situation.other_apis]
    measured: list[Alternative] = []
    untried: list[Alternative] = []
    for found in (_priced(api, situation, book) for api in named):
        is_cheaper = found.usd_per_month < limit
        if found.score is None or situation.needed_score is None:
            untried += [found] if is_cheaper else []
        elif found.score >= situation.needed_score and (situation.has_gap or is_cheaper):
            measured.append(found)
    if "smaller-model" not in situation.tried:
        known = {own.model, *(api.model for api in named)}
        untried += _cheaper([model for model in small_apis if model not in known], situation, limit, book)
    provider = own.model.partition("/")[0]
    if not {"smaller-model", "base-model"} & set(situation.tried):
        known = {own.model, *(api.model for api in named)}
        cheap = _cheaper([model for model in open_apis if model not in known], situation, limit, book)
        untried += [one.replace(is_open=True) for one in cheap]
    measured.sort(key=lambda one: one.usd_per_month)
    untried.sort(key=lambda one: (one.model.partition("/")[0] != provider, one.usd_per_month))
    return (*measured, *(() if situation.has_gap else untried))


def base_model(situation: Situation, models: Sequence[str], book: PriceBook) -> Alternative | None:
    """Return the first open model with a price at an API, to be measured before it is tuned.

    None if the data may not leave, or none has a price.

    Args:
        situation: The traffic.
        models: Open models at APIs, the most fitting first.
        book: Prices.
    """
    if situation.must_self_host:
        return None
    for model in models:
        try:
            return _priced(Api(model=model), situation, book).replace(is_open=True)
        except SpecError:
            continue
    return None


def _cheaper(models: list[str], situation: Situation, limit: Decimal, book: PriceBook) -> list[Alternative]:
    found: list[Alternative] = []
    for model in models:
        try:
            one = _priced(Api(model=model), situation, book)
        except SpecError:
            continue  # the installed price list may be older, or newer, than the list of models
        if one.usd_per_month < limit:
            found.append(one)
    return found


def _priced(api: Api, situation: Situation, book: PriceBook) -> Alternative:
    option, _ = api_option(api.model, api, situation.workload, book)
    requests = situation.workload.requests_per_month or 0
    usd = option.request_usd(requests) * requests
    return Alternative(
        model=api.model,
        usd_per_month=round(Decimal(repr(float(usd))), 2),
        score=api.accepted,
        source=f"{option.source}, {option.as_of}",
    )
