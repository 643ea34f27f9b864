"""Where to serve: the cheapest host of the price book that is in time."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.cost import PriceBook
from ftsdk.cost.pricebook.gpu_prices import gpu_price
from ftsdk.cost.serving.capacity import capacity
from ftsdk.cost.serving.gpus import serving_gpu
from ftsdk.cost.serving.hosts import Host, cheapest_host
from ftsdk.cost.serving.shapes import model_shape
from ftsdk.errors import SpecError

MISTRAL = "mistralai/Mistral-7B-Instruct-v0.3"


def host(book: PriceBook, **changes: Any) -> Host:
    asked: dict[str, Any] = {
        "peak_requests_per_s": 4.0,
        "input_tokens": 600,
        "output_tokens": 15,
        "book": book,
        **changes,
    }
    return cheapest_host(model_shape(MISTRAL), **asked)


def test_no_other_host_that_is_on_demand_is_cheaper_for_the_least_replicas(book: PriceBook) -> None:
    found = host(book)
    usd = gpu_price(found.gpu, found.provider, book=book).usd
    for gpu in ("L4", "RTX4090", "L40S", "A100-80GB", "H100"):
        assert usd <= gpu_price(gpu, "runpod", book=book).usd
    assert capacity(model_shape(MISTRAL), serving_gpu(found.gpu), input_tokens=600, output_tokens=15).is_target_met


def test_a_provider_that_is_left_out_is_not_taken(book: PriceBook) -> None:
    first = host(book)
    assert host(book, leaving_out=(first.provider,)).provider != first.provider


def test_a_target_that_no_gpu_meets_is_refused(book: PriceBook) -> None:
    with pytest.raises(SpecError, match="no GPU in the price book serves mistralai/Mistral-7B"):
        host(book, input_tokens=2_000_000, latency="interactive")
