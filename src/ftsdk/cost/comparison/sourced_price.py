"""Prices of GPU time as a crossover uses them: the price book's or the caller's, each with its source and its notes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.gpu_prices import gpu_price, gpu_prices
from ftsdk.cost.pricebook.price import OLD_AFTER_DAYS, STALE_AFTER_DAYS, Offer, Price, rate
from ftsdk.cost.pricebook.usual_prices import unusual_price
from ftsdk.errors import SpecError

__all__ = ["SourcedPrice", "age_notes", "gpu_hour", "serverless_gpu_hour"]


@dataclass(frozen=True, kw_only=True)
class SourcedPrice:
    """US dollars of one GPU for one hour, with what a reader has to know about them."""

    usd: float
    source: str
    as_of: str | None
    notes: tuple[str, ...] = ()


def gpu_hour(
    given: Decimal | None, gpu: str, provider: str, book: PriceBook, *, offer: Offer | None = None
) -> SourcedPrice:
    """Return the price of a GPU-hour: the caller's, if there is one, else the book's.

    Args:
        given: The caller's price in US dollars.
        gpu: As in the price book.
        provider: As in the price book.
        book: The prices.
        offer: How the GPU is sold; None takes the most dependable offer.

    Raises:
        SpecError: The book has no such price.
    """
    return (
        _given(given, gpu)
        if given is not None
        else _from_row(gpu_price(gpu, provider, offer=offer, book=book), gpu, book)
    )


def serverless_gpu_hour(given: Decimal | None, gpu: str, provider: str, book: PriceBook) -> SourcedPrice:
    """Return the price of a GPU-hour on GPUs that stop when idle: a price of a pod or a virtual machine isn't one.

    Raises:
        SpecError: As far as the book knows, the provider sells no such GPU that stops when idle.
    """
    if given is not None:
        return _given(given, gpu)
    rule = book.rule(provider, "gpu")
    if rule is not None and rule.scales_to_zero:
        return _from_row(gpu_price(gpu, provider, book=book), gpu, book)
    rows = [row for row in gpu_prices(provider=provider, book=book) if row.offer == "serverless"]
    if not rows:
        raise SpecError(
            f"as far as the price book knows, {provider} doesn't sell GPUs that stop when idle; "
            f"{', '.join(_serverless_providers(book))} do. Name one of them, or give Serverless(gpu_usd_per_hour=...)"
        )
    try:
        row = gpu_price(gpu, provider, offer="serverless", book=book)
    except SpecError as error:
        sold = ", ".join(sorted({str(row.gpu) for row in rows}))
        raise SpecError(
            f"the price book has no serverless price of {gpu} at {provider}, only of {sold}. Name one of them, or give "
            "Serverless(gpu_usd_per_hour=...)"
        ) from error
    return _from_row(row, gpu, book)


def age_notes(what: str, days: int) -> tuple[str, ...]:
    """Return a note on a price that was read long ago; none on a fresh one."""
    if days <= OLD_AFTER_DAYS:
        return ()
    return (f"the price of {what} is {days} days old" + (": stale, read it again" if days > STALE_AFTER_DAYS else ""),)


def _given(usd: Decimal, gpu: str) -> SourcedPrice:
    odd = unusual_price(usd, "usd_per_gpu_hour")
    notes = () if odd is None else (f"{rate(usd)} for an hour of {gpu} is {odd}",)
    return SourcedPrice(usd=float(usd), source="given in the call", as_of=None, notes=notes)


def _from_row(row: Price, gpu: str, book: PriceBook) -> SourcedPrice:
    notes: list[str] = []
    at = f"{gpu} at {row.provider}"
    if row.status is not None:
        notes.append(f"the price of {at} has the status {row.status!r}" + (f": {row.note}" if row.note else ""))
    if row.offer == "spot":
        notes.append(f"the only price of {at} is for spot capacity, which can be taken away")
    odd = unusual_price(row.usd, row.unit)
    notes += [] if odd is None else [f"the price of {at}, {rate(row.usd)}, is {odd}"]
    notes += age_notes(at, row.age_days(book.today))
    return SourcedPrice(usd=float(row.usd), source=row.source, as_of=str(row.as_of), notes=tuple(notes))


def _serverless_providers(book: PriceBook) -> list[str]:
    rows = gpu_prices(book=book)
    by_rule = {
        row.provider for row in rows if (rule := book.rule(row.provider, "gpu")) is not None and rule.scales_to_zero
    }
    return sorted(by_rule | {row.provider for row in rows if row.offer == "serverless"})
