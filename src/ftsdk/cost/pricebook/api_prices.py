"""What tokens cost at an API: the book's own rows first, then the data of the package genai-prices.

Nothing is guessed, nothing is free.

genai-prices matches names loosely in places, gives the standard price for a batch price that it doesn't have, and knows
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
from typing import Annotated, Any, NamedTuple, cast

from pydantic import Field

from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.price import Amount, Day, Layer, OptionalAmount, Price
from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import nearest, usd_default

__all__ = ["ApiPrice", "ApiTier", "api_price"]

_MTOK = 1_000_000


class ApiTier(Value):
    """A cliff: a request with more input tokens than this is billed at these prices as a whole."""

    above_input_tokens: Annotated[int, Field(gt=0)]
    input_usd_per_mtok: Amount
    output_usd_per_mtok: Amount
    cached_input_usd_per_mtok: OptionalAmount = usd_default(None)


class ApiPrice(Value):
    """What a million tokens of one model cost at one provider on one day."""

    provider: str
    model: str
    input_usd_per_mtok: Amount
    output_usd_per_mtok: Amount
    cached_input_usd_per_mtok: OptionalAmount = usd_default(None)
    """For the part of the input that the provider has cached; None: cached tokens cost as much as others."""
    is_batch: bool = False
    """These are the prices of the provider's batch API."""
    tiers: tuple[ApiTier, ...] = ()
    source: str
    as_of: Day
    layer: Layer = "packaged"
    note: str | None = None

    def at(self, input_tokens: int) -> ApiPrice | ApiTier:
        """Return the prices for a request with so many input tokens."""
        reached = [tier for tier in self.tiers if input_tokens > tier.above_input_tokens]
        return max(reached, key=lambda tier: tier.above_input_tokens) if reached else self

    def cost_usd(
        self, *, input_tokens: int, output_tokens: int, cached_input_tokens: int = 0, requests: int = 1
    ) -> Decimal:
        """Cost of requests of one size, in US dollars.

        Args:
            input_tokens: Of one request, the cached ones included.
            output_tokens: Of one request.
            cached_input_tokens: Of one request: how many of the input tokens the provider has cached.
            requests: How many such requests.

        Raises:
            SpecError: A count is negative, or more tokens are cached than go in.
        """
        counts = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cached_input_tokens": cached_input_tokens,
            "requests": requests,
        }
        for name, count in counts.items():
            if count < 0:
                raise SpecError(f"{name} is a count, so it can't be {count}")
        if cached_input_tokens > input_tokens:
            raise SpecError(
                f"input_tokens={input_tokens} includes the cached ones, so cached_input_tokens can't be "
                f"{cached_input_tokens}"
            )
        rates = self.at(input_tokens)
        cached = (
            rates.input_usd_per_mtok if rates.cached_input_usd_per_mtok is None else rates.cached_input_usd_per_mtok
        )
        usd = (
            (input_tokens - cached_input_tokens) * rates.input_usd_per_mtok
            + cached_input_tokens * cached
            + output_tokens * rates.output_usd_per_mtok
        )
        return usd * requests / _MTOK

    def __str__(self) -> str:
        cached = "" if self.cached_input_usd_per_mtok is None else f", ${self.cached_input_usd_per_mtok:f} cached"
        lines = [
            f"{self.provider}/{self.model}{' (batch)' if self.is_batch else ''}: per million tokens "
            f"${self.input_usd_per_mtok:f} in{cached}, "
            f"${self.output_usd_per_mtok:f} out ({self.source}, as of {self.as_of})"
        ]
        lines += [
            f"  more than {tier.above_input_tokens:,} tokens in: the whole request at ${tier.input_usd_per_mtok:f} in, "
            f"${tier.output_usd_per_mtok:f} out"
            for tier in self.tiers
        ]
        if self.note:
            lines.append(f"  {self.note}")
        return "\n".join(lines)


def api_price(
    model_ref: str, *, on: date | None = None, batch: bool = False, book: PriceBook | None = None
) -> ApiPrice:
    """Return the price of a model at an API.

    Rows `api/<model>/input`, `/output` and `/cached_input` of the price book win over genai-prices.

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
    return own if own is not None else _from_package(book, provider, model, day, batch=batch)


def _from_book(book: PriceBook, provider: str, model: str, day: date, *, batch: bool) -> ApiPrice | None:
    rows = {part: book.find(provider, f"api/{model}/{part}", on=day) for part in ("input", "cached_input", "output")}
    given, taken, cached = rows["input"], rows["output"], rows["cached_input"]
    if given is None and taken is None and cached is None:
        return None
    if given is None or taken is None:
        missing = "input" if given is None else "output"
        raise SpecError(
            f"the price book has a row of {provider} api/{model}/* but none in force for {missing}; add it: ftsdk "
            "prices add"
        )
    amounts = {part: _amount(row, batch=batch) for part, row in rows.items() if row is not None}
    if any(amount is None for part, amount in amounts.items() if part != "cached_input"):
        raise SpecError(
            f"{provider}/{model} has no batch price in the price book; ask for the standard price, or add usd_batch to "
            "its rows"
        )
    cliffs = sorted({tier.above_input_tokens for row in rows.values() if row is not None for tier in row.tiers})
    return ApiPrice(
        provider=provider,
        model=model,
        **_rates(amounts),
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


class _Listed(NamedTuple):
    provider: Any
    model: Any


def _from_package(book: PriceBook, provider: str, model: str, day: date, *, batch: bool) -> ApiPrice:
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
    parts = {"input": dearest.input_mtok, "cached_input": dearest.cache_read_mtok, "output": dearest.output_mtok}
    for part in ("input", "output"):
        if not _base(parts[part]):
            raise SpecError(
                f"genai-prices lists {provider}/{model} without a price for {part} tokens, or as free; nothing is "
                "taken to cost 0. "
                f"Add your own: ftsdk prices add {provider} api/{model}/{part}"
            )
    if not _base(parts["cached_input"]):
        parts["cached_input"] = None
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
        **_rates({part: _base(price) for part, price in parts.items() if price is not None}),
        is_batch=batch,
        tiers=tuple(
            ApiTier(
                above_input_tokens=cliff,
                **_rates({part: _above(price, cliff) for part, price in parts.items() if price is not None}),
            )
            for cliff in cliffs
        ),
        source=f"{page}, by {source}",
        as_of=as_of,
        note="; ".join(dict.fromkeys(filter(None, notes))) or None,
    )


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
