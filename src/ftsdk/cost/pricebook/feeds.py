"""Prices from a public feed, each row checked: what isn't a price is kept apart, with the reason.

Three formats besides ftsdk's own price files: the JSON of genai-prices, the JSON of litellm, and the catalogues of
gpuhunt, as CSV or as a zip of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from ftsdk._format import printable
from ftsdk.cost.pricebook.book import parse_rows
from ftsdk.cost.pricebook.feed_apis import genai_prices_rows, litellm_rows
from ftsdk.cost.pricebook.feed_gpus import catalogue_rows, zipped_catalogues
from ftsdk.cost.pricebook.feed_row import BadRow
from ftsdk.cost.pricebook.feed_source import FeedBytes, feed_limit
from ftsdk.cost.pricebook.price import Price
from ftsdk.errors import SpecError

__all__ = ["Feed", "parse_feed"]


class Feed(NamedTuple):
    """What a feed says, on the day on which it was read."""

    format: str
    source: str
    prices: tuple[Price, ...]
    bad: tuple[BadRow, ...]
    """Rows that can't be prices: negative, not a number, an unusable name."""
    free: int
    """Prices of 0: free, or not known. Nothing is taken to cost 0, so they are left out."""


def parse_feed(read: FeedBytes, *, as_of: date, provider: str | None = None) -> Feed:
    """Return the prices in a feed, whose format is recognised by its content.

    Args:
        read: The feed's bytes.
        as_of: The day on which it was read.
        provider: Of a catalogue of GPUs, if its file isn't named after it.

    Raises:
        SpecError: It is in none of the formats, larger than the limits, or has no price.
    """
    rows: Iterator[Price | BadRow | None]
    content = read.content
    if content[:4] == b"PK\x03\x04":
        name, rows = "gpuhunt", zipped_catalogues(content, source=read.source, as_of=as_of)
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise SpecError(f"{read.source} isn't UTF-8 text, so it isn't a feed of prices: {error}") from error
        name, rows = _text_rows(text, read, as_of, provider)
    prices: list[Price] = []
    bad: list[BadRow] = []
    free, most = 0, feed_limit("prices")
    for row in rows:
        if row is None:
            free += 1
        elif isinstance(row, BadRow):
            bad.append(row)
        else:
            prices.append(row)
        if len(prices) + len(bad) + free > most:
            raise SpecError(f"{read.source} has more than {most:,} prices, the most that is read of a feed; split it")
    if not prices:
        why = f"; the first of {len(bad):,} rows that can't be used: {bad[0]}" if bad else ""
        raise SpecError(f"{read.source} was read as {name}, and has no price{why}")
    return Feed(name, read.source, _unique(prices), tuple(bad), free)


def _text_rows(
    text: str, read: FeedBytes, as_of: date, provider: str | None
) -> tuple[str, Iterator[Price | BadRow | None]]:
    start = text.lstrip()[:1]
    if start in ("[", "{"):
        data = _json(text, read.source)
        if isinstance(data, list):
            return "genai-prices", genai_prices_rows(data, source=read.source, as_of=as_of)
        return "litellm", litellm_rows(data, source=read.source, as_of=as_of)
    head = text.lstrip().partition("\n")[0].strip().lower().split(",")
    if {"price", "gpu_name", "gpu_count"} <= set(head):
        seller = provider or read.name.partition(".")[0]
        return "gpuhunt", catalogue_rows(text, provider=seller, source=read.source, as_of=as_of)
    if not any(line.startswith("prices:") for line in text.splitlines()):
        raise SpecError(
            f"{read.source} is in no known format: the JSON of genai-prices or litellm, a CSV of gpuhunt's catalogue "
            f"or a zip of them, or a price file with 'prices:'; it begins {printable(text[:60], 60)!r}"
        )
    return "price file", iter(parse_rows(text, layer="user", where=read.source))


def _json(text: str, source: str) -> list[Any] | dict[str, Any]:
    def refuse(word: str) -> Any:
        raise ValueError(f"{word} isn't a number in JSON")

    try:
        data: Any = json.loads(text, parse_float=Decimal, parse_constant=refuse)
    except RecursionError as error:
        raise SpecError(f"{source} is nested too deeply to be a feed of prices") from error
    # JSONDecodeError, NaN, an integer of thousands of digits, an exponent of twenty
    except (ValueError, ArithmeticError) as error:
        raise SpecError(f"{source} isn't valid JSON: {error}") from error
    return data


def _unique(prices: list[Price]) -> tuple[Price, ...]:
    """Keep of one sku the highest price: two rows of one day would be a contradiction in the book."""
    best: dict[tuple[str, str, date, date | None], Price] = {}
    for price in prices:
        key = (price.provider, price.sku, price.as_of, price.valid_from)
        if key not in best or best[key].usd < price.usd:
            best[key] = price
    return tuple(best.values())
