"""Prices of API tokens in the data of the package genai-prices.

The package matches names loosely in places, gives the standard price for a batch price that it doesn't have, and knows
models without any price. Here each of these is an error that says what to do.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib import resources
from typing import Any, NamedTuple, cast

from ftsdk.cost.pricebook.api_price import ApiPrice, ApiTier
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.spec.base import nearest

__all__ = ["context_tokens", "listed_models", "packaged_price"]


class _Listed(NamedTuple):
    provider: Any
    model: Any


def packaged_price(book: PriceBook, provider: str, model: str, day: date, *, batch: bool = False) -> ApiPrice:
    """Return the price of a model in the package's data.

    Args:
        book: For what sources disagree about.
        provider: As in the package.
        model: Its name, up to a date at its end.
        day: The day; of prices that vary by hour the dearest counts.
        batch: The price of the batch API.

    Raises:
        SpecError: It isn't listed, has no such price, or is listed as free.
        MissingExtraError: The package isn't installed.
    """
    listed = _find(provider, model)
    hours = [datetime.combine(day, time(hour), tzinfo=UTC) for hour in range(24)]
    if batch and not any(_has_batch(listed, hour) for hour in hours):
        raise SpecError(
            f"{provider}/{model} has no batch price on {day} as far as genai-prices knows; ask for the standard price, "
            "or add your own rows "
            f"with usd_batch: ftsdk prices add {provider} api/{model}/input"
        )
    context = {"processing": "batch"} if batch else None
    by_hour = [listed.model.get_prices(hour, context) for hour in hours]
    dearest = max(by_hour, key=lambda prices: (_base(prices.output_mtok) or 0, _base(prices.input_mtok) or 0))
    varies = any(prices != dearest for prices in by_hour)
    parts = {
        "input": dearest.input_mtok,
        "cached_input": dearest.cache_read_mtok,
        "cache_write": dearest.cache_write_mtok,
        "output": dearest.output_mtok,
    }
    for part in ("input", "output"):
        if not _base(parts[part]):
            raise SpecError(
                f"genai-prices lists {provider}/{model} without a price for {part} tokens, or as free; nothing is "
                "taken to cost 0. "
                f"Add your own: ftsdk prices add {provider} api/{model}/{part}"
            )
    parts = {part: price for part, price in parts.items() if _base(price)}
    cliffs = sorted({tier.start for price in parts.values() for tier in getattr(price, "tiers", ())})
    source, as_of = _package_source(day)
    page = (listed.provider.pricing_urls or ["no page named"])[0]
    notes = [
        "the price varies by hour; this is the dearest" if varies else "",
        *book.conflicts_about(provider, f"api/{model}/input"),
        *book.conflicts_about(provider, f"api/{model}/cached_input"),
    ]
    return ApiPrice(
        provider=provider,
        model=model,
        **_rates({part: _base(price) for part, price in parts.items()}),
        context_tokens=listed.model.context_window,
        is_batch=batch,
        tiers=tuple(
            ApiTier(
                above_input_tokens=cliff,
                **_rates({part: _above(price, cliff) for part, price in parts.items()}),
            )
            for cliff in cliffs
        ),
        source=f"{page}, by {source}",
        as_of=as_of,
        note="; ".join(dict.fromkeys(filter(None, notes))) or None,
    )


def _rates(amounts: dict[str, Decimal | None]) -> dict[str, Any]:
    return {f"{part}_usd_per_mtok": amount for part, amount in amounts.items()}


def context_tokens(provider: str, model: str) -> int | None:
    """Return the longest prompt and answer together, in tokens; None if it isn't known or the package isn't here."""
    try:
        return _find(provider, model).model.context_window
    except (SpecError, MissingExtraError):
        return None


def listed_models(provider: str) -> frozenset[str]:
    """Return the ids of a provider's models in the package; none if the package or the provider isn't there."""
    try:
        return _ids().get(provider, frozenset())
    except MissingExtraError:
        return frozenset()


def _ids() -> dict[str, frozenset[str]]:
    return {one.id: frozenset(model.id for model in one.models) for one in _snapshot().providers}


def _base(price: Any) -> Decimal | None:
    return getattr(price, "base", price)


def _above(price: Any, cliff: int) -> Decimal | None:
    """The price of a request with just more input tokens than the cliff."""
    reached = [tier.price for tier in getattr(price, "tiers", ()) if tier.start <= cliff]
    return reached[-1] if reached else _base(price)


def _has_batch(listed: _Listed, at: datetime) -> bool:
    # What another provider's list says for this one is the standard price: the package doesn't pass its variants on.
    if not any(model is listed.model for model in listed.provider.models):
        return False
    variants = [variant for variant in listed.model.price_variants or () if variant.when == {"processing": "batch"}]
    active = [variant.prices for variant in variants if variant.constraint is None or variant.constraint.active(at)]
    return any(prices.input_mtok is not None for prices in active) and any(
        prices.output_mtok is not None for prices in active
    )


def _find(provider: str, model: str) -> _Listed:
    snapshot = _snapshot()
    known = {one.id: one for one in snapshot.providers}
    if provider not in known:
        raise SpecError(
            f"no API of the provider {provider!r} is known{nearest(provider, set(known))} (to add its prices: ftsdk "
            "prices add)"
        )
    # The package's own id of a model isn't always among the names that it matches.
    by_id = [one for one in known[provider].models if one.id.lower() == model.lower() and not one.id.startswith("ft:")]
    if by_id:
        return _Listed(known[provider], by_id[0])
    try:
        found, info = snapshot.find_provider_model(model, None, provider, None)
    except LookupError:
        found, info = None, None
    if info is None or not _names(info.match, model.lower(), info.id.lower()):
        ids = [one.id for one in known[provider].models if not one.id.startswith("ft:")]
        near = sorted(ids, key=lambda one: _distance(model.lower(), one.lower()))[:3]
        meant = f"; the nearest are {', '.join(repr(f'{provider}/{one}') for one in near)}" if near else ""
        if model.startswith("ft:"):
            meant += "; a fine-tuned model is known by its full id only, such as 'ft:gpt-4o-2024-08-06:org::abc'"
        raise SpecError(
            f"{provider} has no model {model!r} with a known price{meant} (to add one with its source: ftsdk prices "
            "add)"
        )
    return _Listed(found, info)


def _distance(asked: str, known: str) -> float:
    """Names of one family begin alike, and end in sizes and versions."""
    alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(asked, known, strict=False)))
    is_family = asked.startswith(f"{known}-")
    return -difflib.SequenceMatcher(None, asked, known).ratio() - alike / len(asked) - is_family


_TAIL = re.compile(r"([-@]?(\d{8}|\d{4}-\d{2}-\d{2}|\d{3,4})|[-@:]latest)?")
_FINE_TUNED_TAIL = re.compile(r"\d{2}-\d{2}(:.*)?")


def _names(clause: Any, ref: str, known: str) -> bool:
    """Return whether the clause matches because the name is the same, up to a date.

    `claude-opus-4` must not price `claude-opus-4-7`.

    Args:
        clause: The package's rule for which names mean the model.
        ref: The name that was asked for, in lower case.
        known: The package's id of the model, in lower case.
    """
    if hasattr(clause, "or_"):
        return any(_names(member, ref, known) for member in clause.or_)
    if hasattr(clause, "and_"):
        return all(_names(member, ref, known) for member in clause.and_)
    if not clause.is_match(ref):
        return False
    if hasattr(clause, "starts_with"):
        start = clause.starts_with.lower()
        tail = _FINE_TUNED_TAIL if start.startswith("ft:") else _TAIL
        return bool(tail.fullmatch(ref.removeprefix(start))) or start.endswith("@")
    if hasattr(clause, "contains"):
        return bool(_TAIL.fullmatch(ref.rpartition("/")[2].removeprefix(clause.contains.lower().rpartition("/")[2])))
    if hasattr(clause, "ends_with"):
        before = ref.removesuffix(clause.ends_with.lower())
        return before == "" or before.endswith("/")
    if hasattr(clause, "regex"):
        # Only a lookahead: a condition beside others, which doesn't name anything itself. One that is anchored names
        # all of it.
        is_condition = clause.regex.startswith("^(?!") and not clause.regex.endswith("$")
        return is_condition or clause.regex.endswith("$") or bool(_TAIL.fullmatch(ref.removeprefix(known)))
    return True  # equals


def _snapshot() -> Any:
    try:
        from genai_prices import data_snapshot
    except ImportError as error:
        raise MissingExtraError("cost", needed_for="the price of an API's tokens", missing="genai-prices") from error
    return data_snapshot.get_snapshot()


def _package_source(day: date) -> tuple[str, date]:
    import genai_prices

    snapshot = _snapshot()
    name = f"genai-prices {genai_prices.__version__}"
    if snapshot.from_auto_update:
        return f"{name}, updated", snapshot.timestamp.date()
    known = _package_days()
    return name, known.get(genai_prices.__version__) or _newest_change(day)


@functools.cache
def _package_days() -> dict[str, date]:
    import yaml

    text = (resources.files("ftsdk.cost.pricebook") / "genai-prices.yaml").read_text(encoding="utf-8")
    return cast("dict[str, date]", yaml.safe_load(text)["days"])


def _newest_change(day: date) -> date:
    """The newest dated change of price in the package that isn't in the future: its wheel has no date of its own."""
    days: list[date] = []
    for provider in _snapshot().providers:
        for model in provider.models:
            dated = [*(model.prices if isinstance(model.prices, list) else []), *(model.price_variants or ())]
            days += [
                start
                for one in dated
                if (start := getattr(one.constraint, "start_date", None)) is not None and start <= day
            ]
    if not days:
        raise SpecError("genai-prices tells no day of its prices; add your own with ftsdk prices add")
    return max(days)
