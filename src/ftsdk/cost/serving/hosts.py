"""The GPU and the provider in the price book that serve a model's traffic for the least money."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.gpu_prices import gpu_price, gpu_prices
from ftsdk.cost.serving.capacity import Latency
from ftsdk.cost.serving.gpus import known_gpus, serving_gpu
from ftsdk.cost.serving.placements import placements
from ftsdk.cost.serving.shapes import ModelShape
from ftsdk.errors import SpecError

__all__ = ["Host", "cheapest_host"]


class Host(NamedTuple):
    """A GPU and the provider that rents it out."""

    gpu: str
    provider: str


def cheapest_host(
    shape: ModelShape,
    *,
    peak_requests_per_s: float,
    input_tokens: float,
    output_tokens: float,
    cached_input_share: float = 0.0,
    latency: Latency = "server",
    replicas: int = 2,
    leaving_out: Collection[str] = (),
    book: PriceBook,
) -> Host:
    """Return the host that takes the peak for the least money, among those that answer in time.

    Args:
        shape: The model.
        peak_requests_per_s: What the replicas have to take together.
        input_tokens: Mean tokens of a prompt.
        output_tokens: Mean tokens of an answer.
        cached_input_share: Share of the prompt that stays in the prefix cache.
        latency: The target.
        replicas: At least, so that one may fail.
        leaving_out: Providers that don't sell GPU time for serving.
        book: The prices.

    Raises:
        SpecError: None is in time.
    """
    hosts: dict[Host, float] = {}
    for row in gpu_prices(book=book):
        # An instance of eight can't be rented by the card; spot can be taken away; a marketplace's price isn't a
        # promise.
        if (
            row.offer != "on-demand"
            or (row.gpus or 1) != 1
            or row.gpu not in known_gpus()
            or row.provider in leaving_out
        ):
            continue
        try:
            found = placements(
                shape,
                serving_gpu(row.gpu),
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cached_input_share=cached_input_share,
                latency=latency,
            )
        except SpecError:
            continue  # it doesn't fit
        gpus = [
            max(replicas, math.ceil(peak_requests_per_s / one.requests_per_s)) * one.gpus_per_replica
            for one in found
            if one.is_target_met
        ]
        if gpus:
            # The price that a crossover will look up: of several forms the dearest.
            hosts[Host(row.gpu, row.provider)] = min(gpus) * float(gpu_price(row.gpu, row.provider, book=book).usd)
    if not hosts:
        raise SpecError(
            f"no GPU in the price book serves {shape.name} within the {latency!r} target; use latency='offline' or "
            "shorter prompts"
        )
    return min(hosts, key=lambda host: hosts[host])
