"""Cost and memory of one run with adapters before there is a job, by the models that estimates use."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Literal, NamedTuple

from ftsdk.cost.facts.devices import Device, find_device, has_speed
from ftsdk.cost.facts.shapes import Shape
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.finetune_prices import finetune_minimum, finetune_price
from ftsdk.cost.pricebook.gpu_prices import gpu_price, gpu_prices
from ftsdk.cost.training.job_memory import loss_of
from ftsdk.cost.training.memory import TrainingMemory, largest_batch, peak_memory, verdict
from ftsdk.cost.training.ranges import Z80
from ftsdk.cost.training.step_time import MicroStep, spread_of, step_time
from ftsdk.errors import SpecError
from ftsdk.protocol.estimates import CostRange, Range
from ftsdk.spec import SFT

__all__ = ["Ballpark", "Fit", "RunSize", "adapters_that_fit", "managed_run", "run_on_gpus"]

_ROWS_AT_ONCE = 8
"""Rows at a time at most: more gains little."""


class RunSize(NamedTuple):
    """The size of a run."""

    rows: float
    """Rows, over all epochs."""
    row_tokens: float
    """Tokens of the mean row."""
    longest_tokens: float
    """Tokens of the longest row."""
    rank: int
    """Rank of the adapters."""


class Ballpark(NamedTuple):
    """What one run costs on one backend."""

    backend: str
    cost: CostRange


class Fit(NamedTuple):
    """Adapters that a GPU holds."""

    tuning: Literal["lora", "qlora"]
    peak_gb: float
    """Likely, in GB of 1e9 bytes, one row at a time."""


def run_on_gpus(shape: Shape, size: RunSize, *, provider: str, besides_s: Range, book: PriceBook) -> Ballpark:
    """Price a LoRA run on the cheapest GPU of a provider that holds it with a margin of error.

    Args:
        shape: The model.
        size: The size of the run.
        provider: Name of the provider in the price book.
        besides_s: Seconds that a start takes: container, download, loading.
        book: The prices.

    Returns:
        US dollars for GPU time, with 80% confidence between `low` and `high`.

    Raises:
        SpecError: No GPU in the book holds the run.
    """
    found: list[CostRange] = []
    for name in sorted({str(row.gpu) for row in gpu_prices(provider=provider, book=book)}):
        device = find_device(name) if has_speed(name) else None
        if (
            device is not None
            and device.has_bfloat16
            and (cost := _on(device, shape, size, provider=provider, besides_s=besides_s, book=book))
        ):
            found.append(cost)
    if not found:
        raise SpecError(
            f"no GPU of {provider} in the price book holds {shape.name} with LoRA; take a smaller model or shorter "
            "prompts"
        )
    return Ballpark(provider, min(found, key=lambda cost: cost.likely))


def _on(
    device: Device, shape: Shape, size: RunSize, *, provider: str, besides_s: Range, book: PriceBook
) -> CostRange | None:
    memory = _memory("lora", size)
    at_once = largest_batch(memory, shape, device.memory_gib or 0, row_tokens=size.longest_tokens, limit=_ROWS_AT_ONCE)
    if at_once == 0:
        return None
    step = MicroStep(tokens=at_once * size.row_tokens, row_tokens=size.row_tokens, tuning="lora", recomputes=True)
    time = step_time(step, shape, device)
    seconds, off = time.total_s * math.ceil(size.rows / at_once), math.exp(Z80 * spread_of(step, time, device))
    price = gpu_price(device.name, provider, book=book)
    low, likely, high = (
        round(Decimal(repr(s / 3600)) * price.usd, 2)
        for s in (besides_s.low + seconds / off, besides_s.likely + seconds, besides_s.high + seconds * off)
    )
    return CostRange(
        low=low,
        likely=likely,
        high=high,
        source=f"the model of training time on {device.name}, GPU time alone, {price.cited}",
    )


def managed_run(shape: Shape, size: RunSize, *, provider: str, book: PriceBook) -> Ballpark | None:
    """Price a run with LoRA at a service that bills tokens, its minimum included.

    None if no source has its price for this model.
    """
    price = finetune_price(book, provider, shape.name, method="sft", tuning="lora", billion=shape.parameters / 1e9)
    if price is None:
        return None
    minimum = finetune_minimum(book, provider, shape.name)
    least = minimum.usd if minimum is not None else Decimal(0)
    million = Decimal(repr(size.rows * size.row_tokens)) / 1_000_000
    usd = max(least, round(price.usd * million, 2))
    top = max(usd, round(price.at_most.usd * million, 2)) if price.at_most else usd
    return Ballpark(provider, CostRange(low=usd, likely=usd, high=top, source=price.source))


def adapters_that_fit(shape: Shape, size: RunSize, *, memory_gib: float) -> Fit | None:
    """Return the adapters that a GPU holds with a margin of error, on 16-bit weights before 4-bit ones.

    None if neither fits.
    """
    for tuning in ("lora", "qlora"):
        peak = peak_memory(_memory(tuning, size), shape)
        if verdict(peak, memory_gib) == "fits":
            return Fit(tuning, peak.likely / 1e9)
    return None


def _memory(tuning: Literal["lora", "qlora"], size: RunSize) -> TrainingMemory:
    return TrainingMemory(
        longest_tokens=size.longest_tokens, tuning=tuning, recomputes=True, rank=size.rank, loss=loss_of(SFT())
    )
