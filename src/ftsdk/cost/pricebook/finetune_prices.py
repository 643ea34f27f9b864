"""What a managed service charges per training token.

By the model's name, else by its size, else an upper bound from before a cut.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal, NamedTuple

from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.price import Price
from ftsdk.spec import JobSpec

__all__ = ["FinetunePrice", "finetune_minimum", "finetune_price", "kind_of"]

Tuning = Literal["lora", "full"]


class FinetunePrice(NamedTuple):
    """A price per million training tokens, and how far it can be relied on."""

    price: Price
    is_upper_bound: bool = False
    """Whether the service has cut prices since, or gives a range: it won't be more."""
    at_most: Price | None = None
    """The upper end of the price, where the price is a third party's reading by size."""

    @property
    def usd(self) -> Decimal:
        """US dollars per million training tokens."""
        return self.price.usd_in("usd_per_1m_training_tokens")

    @property
    def source(self) -> str:
        """Where the price was read, and when."""
        return self.price.cited


def kind_of(spec: JobSpec) -> tuple[str, Tuning]:
    """Return a spec's method and tuning as skus name them: adapters of all kinds are billed as LoRA."""
    return spec.method.kind, "lora" if spec.tuning.adapts else "full"


def finetune_price(
    book: PriceBook,
    provider: str,
    model: str,
    *,
    method: str,
    tuning: Tuning,
    billion: float | None = None,
    on: date | None = None,
) -> FinetunePrice | None:
    """Return the price of training a model, or None if no source has it.

    Args:
        book: Prices.
        provider: Name of the service, such as `together`.
        model: The model's hub id.
        method: The kind of a method, such as `sft` or `dpo`.
        tuning: `lora`, which all adapters are billed as, or `full`.
        billion: Parameters in billions, all experts counted; None: not known, so only a price by name is found.
        on: The day; None: the book's today.
    """
    exact = book.find(provider, f"ft/{tuning}-{method}/{model}", on=on)
    if exact is not None:
        return FinetunePrice(exact)
    sized = [
        row
        for row in book.prices(provider, "usd_per_1m_training_tokens", on=on)
        if _covers(row, method, tuning, billion)
    ]
    in_force = [row for row in sized if row.usd_max is None]
    # A range's upper end, and prices from before a cut: none of them can be exceeded, so the least is the best bound.
    day = on or book.today
    past = [
        row
        for row in book.history(provider)
        if row.status == "superseded"
        and row.in_force_from <= day
        and (row.sku == f"ft/{tuning}-{method}/{model}" or _covers(row, method, tuning, billion))
    ]
    bounds = [row for row in (*sized, *past) if row not in in_force]
    bound = min(bounds, key=lambda row: row.usd) if bounds else None
    if in_force:
        best = min(in_force, key=lambda row: (row.max_billion or float("inf"), row.sku))
        return FinetunePrice(best, at_most=bound if best.verified == "secondary" else None)
    return None if bound is None else FinetunePrice(bound, is_upper_bound=True)


def finetune_minimum(book: PriceBook, provider: str, model: str | None, *, on: date | None = None) -> Price | None:
    """Return the minimum price of a job on this model, or None if no source has one."""
    named = None if model is None else book.find(provider, f"ft/minimum/{model}", on=on)
    return named or book.find(provider, "ft/minimum", on=on)


def _covers(row: Price, method: str, tuning: Tuning, billion: float | None) -> bool:
    """Return whether it is a price by size, for this size.

    Brackets are in whole billions: up to 16 includes 16.4, as in the service's tables.
    """
    if (
        billion is None
        or (row.min_billion is None and row.max_billion is None)
        or not row.sku.startswith(f"ft/{tuning}-{method}/")
    ):
        return False
    return (row.min_billion or 0) <= billion and (row.max_billion is None or billion < row.max_billion + 1)
