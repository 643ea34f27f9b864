"""APIs that may do the job for less than the one that was named, or better than it: to be tried before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ftsdk.cost.advice.inputs import Alternative, Situation
from ftsdk.cost.comparison.api_option import api_option
from ftsdk.cost.comparison.workload import Api
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.errors import SpecError

__all__ = ["alternatives"]

_WORTH_TRYING = 0.8
"""An API that nobody measured is worth it below this share of the price."""


def alternatives(situation: Situation, *, small_apis: Sequence[str], book: PriceBook) -> tuple[Alternative, ...]:
    """Return other APIs that may be used instead of the situation's, the best first.

    Those that were measured and are good enough come first, by price; if the API itself isn't good enough, they may cost more
    than it. Then come those that cost less and weren't measured, the same provider's before others'. Those that were measured
    and aren't good enough are left out, and so are all if the data may not leave.

    Args:
        situation: With the measured APIs in `other_apis`.
        small_apis: Small, current models that are worth trying.
        book: Prices.

    Raises:
        SpecError: An API of the situation has no price.
    """
    if situation.must_self_host:
        return ()
    own = situation.api if isinstance(situation.api, Api) else Api(model=situation.api)
    limit = _WORTH_TRYING * _usd_per_month(own, situation, book)
    named = [api if isinstance(api, Api) else Api(model=api) for api in situation.other_apis]
    measured: list[Alternative] = []
    untried: list[Alternative] = []
    for api in named:
        usd = _usd_per_month(api, situation, book)
        found = Alternative(model=api.model, usd_per_month=Decimal(f"{usd:.2f}"), score=api.accepted)
        if api.accepted is None or situation.needed_score is None:
            untried += [found] if usd < limit else []
        elif api.accepted >= situation.needed_score and (situation.has_gap or usd < limit):
            measured.append(found)
    if "smaller-model" not in situation.tried:
        known = {own.model, *(api.model for api in named)}
        untried += _untried([model for model in small_apis if model not in known], situation, limit, book)
    provider = own.model.partition("/")[0]
    measured.sort(key=lambda one: one.usd_per_month)
    untried.sort(key=lambda one: (one.model.partition("/")[0] != provider, one.usd_per_month))
    return (*measured, *(() if situation.has_gap else untried))


def _untried(models: list[str], situation: Situation, limit: float, book: PriceBook) -> list[Alternative]:
    found: list[Alternative] = []
    for model in models:
        try:
            usd = _usd_per_month(Api(model=model), situation, book)
        except SpecError:
            continue  # the installed price list may be older, or newer, than the list of models
        if usd < limit:
            found.append(Alternative(model=model, usd_per_month=Decimal(f"{usd:.2f}")))
    return found


def _usd_per_month(api: Api, situation: Situation, book: PriceBook) -> float:
    option, _ = api_option(api.model, api, situation.workload, book)
    return option.usd_per_request * (situation.workload.requests_per_month or 0)
