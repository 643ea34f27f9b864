"""What is wrong with a price book, or will be soon. Pure, but for the data of genai-prices where that is installed."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Literal, NamedTuple

from ftsdk._rich_text import rich_text
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.price import Price, rate
from ftsdk.cost.pricebook.usual_prices import unusual_price

__all__ = ["Finding", "check"]

Kind = Literal[
    "duplicate",
    "future",
    "no address",
    "contradiction",
    "stale",
    "old",
    "conflict",
    "unconfirmed",
    "disagreement",
    "unusual",
]
_ERRORS: tuple[Kind, ...] = ("duplicate", "future", "no address", "contradiction")


class Finding(NamedTuple):
    """One thing that a careful reader of the book would mention."""

    kind: Kind
    provider: str
    sku: str
    says: str

    @property
    def is_error(self) -> bool:
        """Return whether the book is wrong; otherwise it is only old, or its sources disagree."""
        return self.kind in _ERRORS

    def __str__(self) -> str:
        return f"{self.kind}: {self.provider} {self.sku}: {self.says}"

    __rich__ = rich_text


def check(book: PriceBook) -> tuple[Finding, ...]:
    """Look for rows that are wrong, old, disputed or of an unusual size, errors first.

    Duplicates and days in the future are looked for in every row, age and disputes in those that are in force.
    """
    found = [*_duplicates(book), *(finding for row in book.history() for finding in _wrong(row, book.today))]
    for price in book.prices():
        odd = unusual_price(price.usd, price.unit, gpus=price.gpus or 1)
        if odd is not None:
            found.append(Finding("unusual", price.provider, price.sku, f"{rate(price.usd)} is {odd}"))
        age = price.staleness(book.today)
        if age != "fresh":
            found.append(
                Finding(age, price.provider, price.sku, f"read {price.age_days(book.today)} days ago ({price.cited})")
            )
        if price.status == "conflict" or price.status == "unconfirmed":
            says = "; ".join(book.conflicts_about(price.provider, price.sku)) or price.note or "no other source says so"
            found.append(Finding(price.status, price.provider, price.sku, says))
    found += _disagreements(book)
    return tuple(sorted(found, key=lambda finding: (not finding.is_error, finding.kind, finding.provider, finding.sku)))


def _duplicates(book: PriceBook) -> list[Finding]:
    keys = Counter((row.layer, row.provider, row.sku, row.as_of, row.valid_from) for row in book.history())
    return [
        Finding(
            "duplicate",
            provider,
            sku,
            f"{count} rows of {as_of} in the {layer} prices; the last one counts: remove the others",
        )
        for (layer, provider, sku, as_of, _), count in keys.items()
        if count > 1
    ]


def _wrong(row: Price, today: date) -> list[Finding]:
    found: list[Finding] = []
    if row.as_of > today:
        found.append(
            Finding(
                "future",
                row.provider,
                row.sku,
                f"read on {row.as_of}, which is after {today}; for an announced price use valid_from",
            )
        )
    if row.layer == "packaged" and not row.source.startswith("https://"):
        found.append(
            Finding("no address", row.provider, row.sku, f"its source is {row.source!r}, which nobody can look up")
        )
    least, most = row.usd_min or row.usd, row.usd_max or row.usd
    if not least <= row.usd <= most:
        found.append(
            Finding(
                "contradiction", row.provider, row.sku, f"{row.usd} isn't between usd_min {least} and usd_max {most}"
            )
        )
    return found


def _disagreements(book: PriceBook) -> list[Finding]:
    """Hold the book's API prices against those of genai-prices, if it is there."""
    from ftsdk.cost.pricebook.api_prices import api_price
    from ftsdk.errors import MissingExtraError, SpecError

    bare = PriceBook((), today=book.today)
    found: list[Finding] = []
    for price in book.prices(unit="usd_per_1m_tokens"):
        room, _, rest = price.sku.partition("/")
        model, _, part = rest.rpartition("/")
        if room != "api":
            continue
        try:
            listed = api_price(f"{price.provider}/{model}", book=bare)
        except MissingExtraError:
            return []
        except SpecError:
            continue  # only the book knows it, which is what a book of one's own is for
        other = getattr(listed, f"{part}_usd_per_mtok", None)
        if other is not None and other != price.usd:
            found.append(
                Finding(
                    "disagreement",
                    price.provider,
                    price.sku,
                    f"{rate(price.usd)} here, {rate(other)} by {listed.source}; this book counts",
                )
            )
    return found
