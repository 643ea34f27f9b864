"""What Together bills for a job: training tokens, by its own rules and prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.backends.together.catalogue import KnownModel, catalogue
from ftsdk.backends.together.translate import cost_note
from ftsdk.cost.facts.shapes import shape_of
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.finetune_prices import FinetunePrice, finetune_price, kind_of
from ftsdk.cost.pricebook.price import Price
from ftsdk.models import inspect_model
from ftsdk.protocol import Rate, TokenBilling
from ftsdk.spec import JobSpec

__all__ = ["billing_of"]


def billing_of(
    spec: JobSpec,
    known: KnownModel | None,
    create: Mapping[str, Any],
    *,
    max_length: int | None,
    minimum: Price,
    book: PriceBook,
) -> TokenBilling:
    """List what is billed for a job, and at which prices.

    Args:
        spec: The job.
        known: Its model in the catalogue; None for a name that the user gave.
        create: The request.
        max_length: Tokens that a row is cut to, as planned; None: not known offline.
        minimum: The minimum per job.
        book: Prices.
    """
    price = _price(spec, known, book)
    rule = book.rule("together", "finetune")
    pads = not create["packing"] and rule is not None and bool(rule.are_unpacked_rows_padded)
    are_evaluations_billed = rule is not None and bool(rule.are_evaluations_billed)
    return TokenBilling(
        usd_per_mtok=None if price is None else _rate(price.price, is_upper_bound=price.is_upper_bound),
        most_usd_per_mtok=_rate(price.at_most) if price is not None and price.at_most is not None else None,
        minimum=Rate(label="up to the minimum", usd=minimum.usd_in("usd_per_job"), source=minimum.cited),
        epochs=create["n_epochs"],
        evaluations=create["n_evals"] if are_evaluations_billed and spec.validation is not None else 0,
        pads_rows=pads,
        row_tokens=create.get("max_seq_length", max_length) if pads else None,
        note=cost_note(price, minimum),
    )


def _price(spec: JobSpec, known: KnownModel | None, book: PriceBook) -> FinetunePrice | None:
    """Find the price by the model's name, or by its size in the catalogue, in its files or in its name."""
    found = catalogue().price_per_mtok(known, spec, book)
    if found is not None:
        return found
    method, tuning = kind_of(spec)
    shape = shape_of(inspect_model(spec.model))
    billion = None if shape is None else shape.parameters / 1e9
    return finetune_price(book, "together", spec.model.id, method=method, tuning=tuning, billion=billion)


def _rate(price: Price, *, is_upper_bound: bool = False) -> Rate:
    bound = ", from before the last known price cut, so an upper bound" if is_upper_bound else ""
    return Rate(label="training", usd=price.usd_in("usd_per_1m_training_tokens"), source=f"{price.cited}{bound}")
