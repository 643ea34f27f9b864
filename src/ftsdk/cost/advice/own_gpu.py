"""Serving on a card of one's own: what it takes, and what an hour of it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from ftsdk.cost.advice.inputs import OwnGpu, Situation
from ftsdk.cost.comparison.options import MONTH_H, MONTH_S
from ftsdk.cost.comparison.workload import SelfHosted
from ftsdk.cost.facts.devices import find_device
from ftsdk.cost.serving.gpus import ServingGpu, known_gpus, serving_gpu
from ftsdk.cost.serving.placements import placements
from ftsdk.cost.serving.shapes import ModelShape
from ftsdk.errors import SpecError

__all__ = ["YOUR_OWN", "OwnServing", "card_memory_gib", "serve_on_own_gpu"]

YOUR_OWN = "your own"
"""The provider of a card that isn't rented."""


class OwnServing(NamedTuple):
    """A model on the user's own card, or why it isn't served there."""

    own: SelfHosted | None
    why_not: str = ""


def card_memory_gib(situation: Situation) -> float | None:
    """Return the memory of one of the user's cards, in GiB; None if there is no card.

    Raises:
        SpecError: The card isn't known.
    """
    if situation.own_gpu is None:
        return situation.gpu_memory_gb
    return find_device(situation.own_gpu.gpu).memory_gib


def serve_on_own_gpu(situation: Situation, model: str, shape: ModelShape, facts: Mapping[str, Any]) -> OwnServing:
    """Return how the user's own card serves a model, if it does.

    A card that was named serves; one of which only the memory is known does so where the data may not leave, and is
    taken to be as slow as the slowest of its kind.

    Args:
        situation: With the card.
        model: The model's hub id.
        shape: Its shape.
        facts: The facts of advice: power, and what an unnamed card is taken to do.

    Raises:
        SpecError: The card isn't known.
    """
    if situation.own_gpu is None and not (situation.must_self_host and situation.gpu_memory_gb):
        return OwnServing(None)
    card = situation.own_gpu or OwnGpu(gpu=f"{situation.gpu_memory_gb:g} GB card")
    gpu = _serving_gpu(situation, card, facts)
    if gpu is None:
        return OwnServing(None, f"how fast a {card.gpu} serves isn't known")
    workload = situation.workload
    peak = (workload.requests_per_month or 0) / MONTH_S * workload.peak_to_mean
    try:
        found = placements(
            shape,
            gpu,
            input_tokens=workload.input_tokens,
            output_tokens=workload.output_tokens,
            cached_input_share=workload.cached_input_share,
            latency=situation.latency,
        )
    except SpecError:
        return OwnServing(None, f"{model} doesn't fit on your own {card.gpu}")
    needed = [(max(1, math.ceil(peak / one.requests_per_s)) * one.gpus_per_replica, one) for one in found]
    cards, best = min(needed, key=lambda pair: pair[0])
    if not best.is_target_met:
        return OwnServing(None, f"your own {card.gpu} doesn't answer within the {situation.latency!r} target")
    if cards > card.count:
        return OwnServing(None, f"the peak of {peak:.3g} requests/s needs {cards} of your own {card.gpu}")
    return OwnServing(
        SelfHosted(
            model=model,
            gpu=card.gpu,
            provider=YOUR_OWN,
            gpus_per_replica=best.gpus_per_replica,
            latency=situation.latency,
            shape=shape,
            gpu_usd_per_hour=_usd_per_hour(situation, card, facts),
            requests_per_s_per_replica=None if card.gpu in known_gpus() else best.requests_per_s,
        )
    )


def _serving_gpu(situation: Situation, card: OwnGpu, facts: Mapping[str, Any]) -> ServingGpu | None:
    if situation.own_gpu is None:
        unnamed = facts["unnamed_card"]
        return ServingGpu(
            name=card.gpu,
            memory_gib=situation.gpu_memory_gb or 0,
            bandwidth_gb_s=unnamed["bandwidth_gb_s"],
            link_gb_s=unnamed["link_gb_s"],
            bf16=unnamed["bf16"],
            source="the memory that was given, and the speed of the slowest cards",
        )
    name = find_device(card.gpu).name
    return serving_gpu(name) if name in known_gpus() else None


def _usd_per_hour(situation: Situation, card: OwnGpu, facts: Mapping[str, Any]) -> Decimal:
    """Return US dollars of one card for one hour: as given, or its power and its share of the purchase."""
    if card.usd_per_hour is not None:
        return card.usd_per_hour
    known = facts["unnamed_card"]["watts"] if situation.own_gpu is None else facts["watts"].get(card.gpu)
    watts = card.watts or known or facts["unnamed_card"]["watts"]
    power = Decimal(repr(float(watts))) / 1000 * card.usd_per_kwh
    return round(power + card.price_usd / (card.amortised_months * MONTH_H), 6)
