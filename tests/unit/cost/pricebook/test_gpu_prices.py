from __future__ import annotations

from decimal import Decimal

import pytest
from prices import TODAY, a_gpu_price, a_price

from ftsdk.cost import PriceBook, gpu_price
from ftsdk.errors import SpecError


@pytest.mark.parametrize(
    ("gpu", "provider", "usd", "sku"),
    [
        ("L4", "runpod", "0.49", "pod-secure/L4"),
        ("H100", "runpod", "3.49", "pod-secure/H100-80GB-SXM"),
        ("h100 pcie", "runpod", "2.89", "pod-secure/H100-80GB-PCIe"),
        ("RTX 4090", "vast", "0.375", "verified-on-demand/RTX4090"),
        ("H100", "modal", "3.9492", "gpu/H100"),
        ("NVIDIA H200", "aws", "7.912", "ec2/us-east-1/p5en.48xlarge"),
        ("A100-80GB", "azure", "3.673", "vm/eastus/NC24ads_A100_v4"),
        ("H100", "together", "3.99", "gpu-cluster/H100"),
        ("L4", "huggingface", "0.8", "jobs/l4x1"),
    ],
)
def test_the_price_of_a_gpu_is_per_gpu_and_hour_whatever_is_sold(
    book: PriceBook, gpu: str, provider: str, usd: str, sku: str
) -> None:
    price = gpu_price(gpu, provider, book=book)
    assert (price.usd, price.unit, price.sku) == (Decimal(usd), "usd_per_gpu_hour", sku)
    assert price.source.startswith("https://")


def test_how_it_is_sold_can_be_chosen(book: PriceBook) -> None:
    assert gpu_price("L4", "runpod", offer="community", book=book).usd == Decimal("0.44")
    assert gpu_price("H100", "together", offer="endpoint", book=book).usd == Decimal("5.49")
    assert gpu_price("H100", "together", offer="spot", book=book).usd == Decimal("1.99")
    with pytest.raises(SpecError, match="it does as 'on-demand'"):
        gpu_price("L4", "modal", offer="spot", book=book)


def test_the_other_ways_are_named_in_the_note(book: PriceBook) -> None:
    assert "pod-community/L4 $0.44" in (gpu_price("L4", "runpod", book=book).note or "")


def test_spot_is_used_only_where_nothing_else_is_sold() -> None:
    rows = [a_gpu_price(1, sku="spot", offer="spot"), a_gpu_price(3, sku="firm")]
    assert gpu_price("H100", "acme", book=PriceBook(rows, today=TODAY)).sku == "firm"
    assert gpu_price("H100", "acme", book=PriceBook(rows[:1], today=TODAY)).sku == "spot"


@pytest.mark.parametrize(
    ("gpu", "provider", "says"),
    [
        ("A100", "modal", "A100-40GB and A100-80GB"),
        ("L40", "runpod", "did you mean 'L40S'"),
        ("T4", "runpod", "sold by huggingface, modal, replicate"),
        ("L4", "runpud", "did you mean 'runpod'"),
    ],
)
def test_a_gpu_that_isnt_sold_there_raises_with_what_is(book: PriceBook, gpu: str, provider: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        gpu_price(gpu, provider, book=book)
    assert says in str(caught.value)


def test_a_price_that_isnt_of_gpu_time_has_no_price_per_gpu_hour() -> None:
    with pytest.raises(SpecError, match="not of GPU time"):
        _ = a_price().usd_per_gpu_hour


def test_a_range_is_scaled_with_its_price() -> None:
    row = a_gpu_price(16, unit="usd_per_instance_hour", gpus=8, usd_min=8, usd_max=32)
    price = gpu_price("H100", "acme", book=PriceBook([row], today=TODAY))
    assert (price.usd_min, price.usd, price.usd_max, price.gpus) == (1, 2, 4, 1)
