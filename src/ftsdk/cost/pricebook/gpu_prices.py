"""What a GPU costs for an hour at a provider, whatever unit the provider sells it in."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import get_args

from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.price import GPU_TIME, Offer, Price, rate
from ftsdk.errors import SpecError
from ftsdk.spec.base import nearest

__all__ = ["gpu_price", "gpu_prices", "per_gpu_hour"]

_OFFERS: tuple[Offer, ...] = get_args(Offer)


def gpu_price(
    gpu: str, provider: str, *, offer: Offer | None = None, on: date | None = None, book: PriceBook | None = None
) -> Price:
    """Return the price of one GPU for one hour.

    If a provider sells a GPU in several ways, the most dependable counts: on demand before a marketplace before spot.
    Of several forms or instances of that, the most expensive counts, and the note names the others.

    Args:
        gpu: As in the book, such as `L4`, `A100-80GB` or `H100-PCIe`; case and punctuation don't matter.
        provider: Exactly as in the book, such as `runpod`.
        offer: How it is sold, such as `community`, `spot` or `endpoint`; None chooses.
        on: The day; None: the book's today.
        book: Prices; None loads all layers.

    Returns:
        A price of the unit `usd_per_gpu_hour`, with the source of the price that it was computed from.

    Raises:
        SpecError: The provider doesn't sell it as far as the book knows; names what it sells, and who sells that GPU.
    """
    book = PriceBook.load() if book is None else book  # an empty one is a book too
    offered = gpu_prices(provider=provider, on=on, book=book)
    found = [price for price in offered if _is(gpu, price)]
    if not found:
        _refuse_half_a_name(gpu, provider, offered)
        sellers = sorted({price.provider for price in gpu_prices(on=on, book=book) if _is(gpu, price)})
        at = f"; it is sold by {', '.join(sellers)}" if sellers else ""
        raise SpecError(
            f"{provider} has no GPU {gpu!r} in the price book{nearest(gpu, {_name(price) for price in offered})}{at} "
            "(to add its price with its source: ftsdk prices add)"
        )
    offers = [kind for kind in _OFFERS if any(price.offer == kind for price in found)]
    wanted = offer or (offers[0] if offers else None)
    chosen = [price for price in found if price.offer == wanted]
    if not chosen:
        raise SpecError(
            f"{provider} doesn't sell {gpu} as {offer!r} as far as the price book knows; it does as "
            f"{', '.join(map(repr, offers))}"
        )
    best = max(chosen, key=lambda price: price.usd_per_gpu_hour)
    others = [f"{price.sku} {rate(price.usd_per_gpu_hour)}" for price in found if price is not best]
    note = (
        "; ".join(filter(None, [best.note, f"per GPU-hour here also: {', '.join(others)}" if others else None])) or None
    )
    return per_gpu_hour(best).replace(note=note)


def gpu_prices(
    *, provider: str | None = None, on: date | None = None, book: PriceBook | None = None
) -> tuple[Price, ...]:
    """Return the prices of GPU time that are in force, in their own units.

    Raises:
        SpecError: The provider isn't known.
    """
    book = PriceBook.load() if book is None else book
    return tuple(price for price in book.prices(provider, on=on) if price.unit in GPU_TIME)


def per_gpu_hour(price: Price) -> Price:
    """Return a price of GPU time in the unit `usd_per_gpu_hour`.

    Raises:
        SpecError: It isn't a price of GPU time.
    """
    scale = price.usd_per_gpu_hour / price.usd
    bounds = {name: value * scale for name in ("usd_min", "usd_max") if (value := getattr(price, name)) is not None}
    amounts = {"usd": price.usd_per_gpu_hour, **bounds}
    # Without the zeros that multiplying leaves: $3.9492, not $3.949200.
    plain = {name: Decimal(format(amount.normalize(), "f")) for name, amount in amounts.items()}
    return price.replace(unit="usd_per_gpu_hour", gpus=1, **plain)


def _name(price: Price) -> str:
    return str(price.gpu)


def _plain(gpu: str) -> str:
    return re.sub(r"[^a-z0-9]", "", gpu.lower()).removeprefix("nvidia")


def _is(gpu: str, price: Price) -> bool:
    return _plain(gpu) in (_plain(_name(price)), _plain(f"{price.gpu}{price.form or ''}"))


def _refuse_half_a_name(gpu: str, provider: str, offered: tuple[Price, ...]) -> None:
    """Refuse a name such as `A100`, which is two GPUs with two prices."""
    whole = sorted(
        {_name(price) for price in offered if re.fullmatch(rf"{re.escape(_plain(gpu))}\d+gb", _plain(_name(price)))}
    )
    if whole:
        raise SpecError(f"{gpu!r} has no memory size; {provider} sells {' and '.join(whole)}: name one of them")
