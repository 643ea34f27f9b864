"""What a feed changes in a price book: a diff to be read, and rows to be appended. Nothing is ever overwritten."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Literal, NamedTuple

from ftsdk.cost.pricebook.api_price import ApiPrice
from ftsdk.cost.pricebook.api_prices import API_PARTS
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.feed_source import feed_limit
from ftsdk.cost.pricebook.feeds import Feed
from ftsdk.cost.pricebook.genai_prices_data import listed_models, packaged_price
from ftsdk.cost.pricebook.gpu_prices import gpu_prices
from ftsdk.cost.pricebook.own_prices import add_prices
from ftsdk.cost.pricebook.price import GPU_TIME, Price
from ftsdk.cost.pricebook.usual_prices import unusual_price
from ftsdk.errors import SpecError

__all__ = ["Change", "Gone", "PriceUpdate", "compare_feed", "write_update"]

_FACTOR = 5
"""A price that moves by more than this is to be looked at before it is believed."""


class Change(NamedTuple):
    """One price of the feed that the book doesn't have, or has otherwise."""

    kind: Literal["new", "changed", "suspicious"]
    price: Price
    """As it would be appended: under the book's own sku, if it has one."""
    before: Decimal | None
    """US dollars in the same unit; None if the book has no such price."""
    why: str = ""
    """What makes it suspicious."""


class Gone(NamedTuple):
    """A price of the book that the feed doesn't have."""

    provider: str
    sku: str
    where: str
    """The layer of the book, or the package."""


class PriceUpdate(NamedTuple):
    """A feed compared with a book."""

    feed: Feed
    changes: tuple[Change, ...]
    gone: tuple[Gone, ...]
    same: tuple[Price, ...]
    """Prices on which both agree."""

    def of(self, kind: Literal["new", "changed", "suspicious"]) -> tuple[Change, ...]:
        """Return the changes of one kind."""
        return tuple(change for change in self.changes if change.kind == kind)


def compare_feed(feed: Feed, book: PriceBook, *, providers: Collection[str] = ()) -> PriceUpdate:
    """Return what a feed would change.

    Args:
        feed: The feed.
        book: The prices as they are now. API prices that it lacks are compared with those of genai-prices.
        providers: Only these, as the price book calls them; none is all.

    Raises:
        SpecError: The feed has none of these providers.
    """
    sold = {price.provider for price in feed.prices}
    if unknown := sorted(set(providers) - sold):
        raise SpecError(f"{feed.source} has no prices of {', '.join(unknown)}; it has {', '.join(sorted(sold)[:40])}")
    prices = [price for price in feed.prices if not providers or price.provider in providers]
    known = _Known(book)
    changes: list[Change] = []
    unchanged: list[Price] = []
    matched: set[tuple[str, str]] = set()
    for sold_together in _by_model(prices).values():
        found: list[Change] = []
        agreed: list[Price] = []
        for given in sold_together:
            before, price = known.match(given)
            matched.add((price.provider, price.sku))
            if before is not None and _agrees(before, price):
                agreed.append(price)
                continue
            usd = None if before is None else before.usd
            why = _suspicion(price, usd, sold_together)
            found.append(Change("suspicious" if why else "new" if usd is None else "changed", price, usd, why))
        changes += _all_or_none(found)
        unchanged += agreed
    sellers = {price.provider for price in prices}
    return PriceUpdate(feed, tuple(changes), tuple(_gone(feed, known, book, sellers, matched)), tuple(unchanged))


def write_update(
    update: PriceUpdate, path: Path, *, book: PriceBook, with_suspicious: bool = False
) -> tuple[Price, ...]:
    """Append the new and the changed prices to a file, as dated rows.

    Args:
        update: From `compare_feed`.
        book: The book that it was compared with.
        path: The file, which is made if it isn't there.
        with_suspicious: Those too that are to be looked at first.

    Returns:
        What was appended.

    Raises:
        SpecError: There are more than the limit, or the file can't be appended to; nothing was changed.
    """
    kinds = ("new", "changed", "suspicious") if with_suspicious else ("new", "changed")
    rows = [change.price for change in update.changes if change.kind in kinds]
    # Rows of a model win over genai-prices as a whole: the parts that stayed are needed beside those that changed.
    models = {_model(price) for price in rows if price.sku.startswith("api/")}
    known = {(row.provider, row.sku) for row in book.history()}
    rows += [one for one in update.same if _model(one) in models and (one.provider, one.sku) not in known]
    if len(rows) > (most := feed_limit("written")):
        raise SpecError(
            f"{len(rows):,} prices are more than the {most:,} that are appended at once; choose providers with "
            "--provider, or only what changed with --only changed"
        )
    return add_prices(rows, path) if rows else ()


class _Before(NamedTuple):
    usd: Decimal
    tiers: dict[int, Decimal]


class _Known:
    """The book's answer to each price of a feed."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._bare = PriceBook((), today=book.today)
        self._packaged: dict[tuple[str, str], ApiPrice | None] = {}

    def match(self, price: Price) -> tuple[_Before | None, Price]:
        """Return the price that is in force, if there is one, and the feed's under the same sku and unit."""
        if price.unit in GPU_TIME:
            row = self._gpu_row(price)
            if row is None:
                return None, price
            return _Before(row.usd, {}), _in_terms_of(price, row)
        row = self._book.find(price.provider, price.sku)
        if row is not None and row.unit == price.unit:
            return _Before(row.usd, {tier.above_input_tokens: tier.usd for tier in row.tiers}), price
        return self._from_package(price), price

    def _from_package(self, price: Price) -> _Before | None:
        room, _, rest = price.sku.partition("/")
        model, _, part = rest.rpartition("/")
        if room != "api" or part not in API_PARTS or model not in listed_models(price.provider):
            return None
        found = self.packaged(price.provider, model)
        usd = None if found is None else getattr(found, f"{part}_usd_per_mtok")
        if found is None or usd is None:
            return None
        tiers = {tier.above_input_tokens: getattr(tier, f"{part}_usd_per_mtok") for tier in found.tiers}
        return _Before(usd, {start: one for start, one in tiers.items() if one is not None and one != usd})

    def packaged(self, provider: str, model: str) -> ApiPrice | None:
        """Return the price of a model in the package, or None if it is listed as free."""
        key = (provider, model)
        if key not in self._packaged:
            try:
                self._packaged[key] = packaged_price(self._bare, provider, model, self._book.today)
            except SpecError:
                self._packaged[key] = None
        return self._packaged[key]

    def _gpu_row(self, price: Price) -> Price | None:
        try:
            rows = gpu_prices(provider=price.provider, book=self._book)
        except SpecError:
            return None  # the book has nothing of this provider
        alike = [
            row
            for row in rows
            if (row.gpu, row.gpus or 1, row.offer) == (price.gpu, price.gpus or 1, price.offer) and row.form is None
        ]
        name = price.sku.split("/")[1]
        named = [row for row in alike if name in row.sku.split("/")]
        return named[0] if named else alike[0] if len(alike) == 1 else None


def _in_terms_of(price: Price, row: Price) -> Price:
    """Return a price per instance-hour in the unit of the book's row, under its sku."""
    factor = Decimal(1)
    if row.unit != "usd_per_instance_hour":
        factor = Decimal(price.gpus or 1) * (3600 if row.unit == "usd_per_gpu_second" else 1)
    amounts = {
        name: Decimal(f"{getattr(price, name) / factor:.12g}")
        for name in ("usd", "usd_min", "usd_max")
        if getattr(price, name) is not None
    }
    return price.replace(sku=row.sku, unit=row.unit, **amounts)


def _agrees(before: _Before, price: Price) -> bool:
    # A catalogue has a price for each region; the book's is one of them.
    if price.usd_min is not None and price.usd_max is not None and price.unit in GPU_TIME:
        return price.usd_min <= before.usd <= price.usd_max
    tiers = {tier.above_input_tokens: tier.usd for tier in price.tiers if tier.usd != price.usd}
    return before.usd == price.usd and before.tiers == tiers


def _model(price: Price) -> tuple[str, str]:
    """Return what a price belongs to: the model of an API, or itself for GPU time."""
    room, _, rest = price.sku.partition("/")
    return (price.provider, rest.rpartition("/")[0] if room == "api" else price.sku)


def _by_model(prices: Iterable[Price]) -> dict[tuple[str, str], list[Price]]:
    groups: dict[tuple[str, str], list[Price]] = {}
    for price in prices:
        groups.setdefault(_model(price), []).append(price)
    return groups


def _all_or_none(changes: list[Change]) -> list[Change]:
    """Make every price of a model suspicious if one is: half of a model's prices is of no use."""
    if not any(change.why for change in changes):
        return changes
    return [
        change._replace(kind="suspicious", why=change.why or "another price of this model is suspicious")
        for change in changes
    ]


def _suspicion(price: Price, before: Decimal | None, sold_together: Sequence[Price]) -> str:
    reasons: list[str] = []
    if odd := unusual_price(price.usd, price.unit, gpus=price.gpus or 1):
        reasons.append(odd)
    if before is not None and not before / _FACTOR <= price.usd <= before * _FACTOR:
        reasons.append(f"it moved by more than a factor of {_FACTOR}")
    if price.sku.startswith("api/"):
        parts = {one.sku.rpartition("/")[2]: one.usd for one in sold_together}
        if missing := [part for part in ("input", "output") if part not in parts]:
            reasons.append(f"the feed has no price for {' and '.join(missing)} of this model")
        if price.sku.endswith("/cached_input") and price.usd > parts.get("input", price.usd):
            reasons.append("cached input costs more than new input")
    return "; ".join(reasons)


def _gone(
    feed: Feed, known: _Known, book: PriceBook, sellers: Collection[str], matched: Collection[tuple[str, str]]
) -> Iterable[Gone]:
    is_gpu = feed.format == "gpuhunt"
    for row in book.prices():
        sells = row.offer in ("on-demand", "spot") if is_gpu else row.sku.startswith("api/")
        if row.provider in sellers and sells and (row.provider, row.sku) not in matched:
            yield Gone(row.provider, row.sku, f"the {row.layer} prices")
    if feed.format == "genai-prices":
        listed = {(provider, sku.split("/", 1)[1].rpartition("/")[0]) for provider, sku in matched}
        for provider in sorted(sellers):
            for model in sorted(listed_models(provider)):
                is_listed = (provider, model) in listed or model.startswith("ft:")
                if not is_listed and known.packaged(provider, model) is not None:
                    yield Gone(provider, f"api/{model}", "the installed genai-prices")
