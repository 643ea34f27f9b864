"""Bills: never less for more, never below a minimum, never in the wrong unit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prices import TODAY, a_gpu_price, a_price

from ftsdk.cost import PriceBook
from ftsdk.cost.pricebook.billing import (
    dedicated_endpoint_cost,
    finetune_tokens,
    gpu_time_cost,
    per_second_gpu_cost,
    together_finetune_cost,
    together_finetune_tokens,
)
from ftsdk.cost.pricebook.price import GPU_TIME, Unit
from ftsdk.errors import SpecError

PER_MTOK = a_price(usd=0.34)
MINIMUM = a_price(sku="ft/minimum", unit="usd_per_job", usd=4)
counts = st.integers(0, 10**9)
few = st.integers(0, 50)
usd = st.decimals(Decimal("0.01"), Decimal(100), places=2)


def test_together_bills_epochs_of_training_tokens_and_evaluations() -> None:
    assert together_finetune_tokens(train_tokens=1000, epochs=3, validation_tokens=200, evaluations=5) == 4000


def test_without_packing_together_bills_rows_as_long_as_the_longest_may_be() -> None:
    """3,000 emails of 300 tokens, three epochs, padded to 2,048: seven times the tokens that are useful."""
    packed = together_finetune_tokens(train_tokens=900_000, epochs=3, rows=3000, max_length=2048)
    padded = together_finetune_tokens(train_tokens=900_000, epochs=3, rows=3000, max_length=2048, packing=False)
    assert (packed, padded) == (2_700_000, 18_432_000)
    assert together_finetune_cost(tokens=padded, price=PER_MTOK, minimum=MINIMUM).usd.quantize(
        Decimal("0.01")
    ) == Decimal("6.27")
    assert together_finetune_cost(tokens=packed, price=PER_MTOK, minimum=MINIMUM).usd == 4
    with pytest.raises(SpecError, match="give rows= and max_length="):
        together_finetune_tokens(train_tokens=1, epochs=1, packing=False)


@given(
    tokens=counts,
    more=counts,
    epochs=few,
    validation=counts,
    evaluations=few,
    rows=st.integers(0, 10**6),
    length=st.integers(1, 10**5),
)
def test_billed_tokens_are_linear_in_epochs_and_never_fall(
    tokens: int, more: int, epochs: int, validation: int, evaluations: int, rows: int, length: int
) -> None:
    for packing in (True, False):
        fixed: dict[str, Any] = {"rows": rows, "max_length": length, "packing": packing}
        one = together_finetune_tokens(train_tokens=tokens, epochs=1, **fixed)
        many = together_finetune_tokens(
            train_tokens=tokens, epochs=epochs, validation_tokens=validation, evaluations=evaluations, **fixed
        )
        assert many - validation * evaluations == epochs * one
        assert together_finetune_tokens(train_tokens=tokens + more, epochs=epochs, **fixed) >= epochs * one
    assert finetune_tokens(train_tokens=tokens, epochs=epochs) == epochs * tokens


@given(tokens=counts, more=counts, price=usd, dearer=usd, least=usd)
def test_a_jobs_cost_never_falls_and_never_lies_below_the_minimum(
    tokens: int, more: int, price: Decimal, dearer: Decimal, least: Decimal
) -> None:
    minimum = a_price(unit="usd_per_job", usd=least)

    def cost(tokens: int, price: Decimal) -> Decimal:
        return together_finetune_cost(tokens=tokens, price=a_price(usd=price), minimum=minimum).usd

    assert cost(tokens, price) >= least
    assert cost(tokens + more, price) >= cost(tokens, price)
    assert cost(tokens, price + dearer) >= cost(tokens, price)
    assert cost(tokens, price) == max(least, tokens * price / 10**6)


@given(seconds=st.integers(0, 10**6), more=st.integers(0, 10**6), gpus=few, price=usd)
def test_gpu_time_costs_by_the_second_and_never_less_for_more(
    seconds: int, more: int, gpus: int, price: Decimal
) -> None:
    def cost(seconds: int, gpus: int = gpus, price: Decimal = price, **changes: Any) -> Decimal:
        return per_second_gpu_cost(seconds=seconds, gpus=gpus, price=a_gpu_price(price), **changes).usd

    assert cost(seconds + more) >= cost(seconds)
    assert cost(seconds, gpus + 1) >= cost(seconds)
    assert cost(seconds, price=price + 1) >= cost(seconds)
    assert cost(seconds, cold_start_s=more) == cost(seconds + more)


def test_a_modal_container_bills_gpu_cores_memory_and_region(book: PriceBook) -> None:
    prices: dict[str, Any] = {
        "price": book.price("modal", "gpu/H100"),
        "core_price": book.price("modal", "cpu/physical-core"),
        "memory_price": book.price("modal", "memory/gib"),
    }
    plain = per_second_gpu_cost(seconds=3600, gpus=1, cores=4, memory_gib=16, **prices)
    assert [round(float(charge.usd), 4) for charge in plain.charges] == [3.9492, 0.1886, 0.1279]
    pinned = per_second_gpu_cost(
        seconds=3600, gpus=1, cores=4, memory_gib=16, region=book.price("modal", "multiplier/region-broad"), **prices
    )
    assert pinned.usd == plain.usd * Decimal("1.5")
    assert "total: $4.27" in str(plain)
    assert "https://modal.com/pricing" in str(plain)


def test_at_least_an_eighth_of_a_core_is_billed(book: PriceBook) -> None:
    core = book.price("modal", "cpu/physical-core")
    bill = per_second_gpu_cost(seconds=100, gpus=1, price=a_gpu_price(), cores=0.01, core_price=core)
    assert bill.charges[1].quantity == Decimal("12.5")


def test_cores_and_memory_cant_be_had_without_their_price() -> None:
    with pytest.raises(SpecError, match="give core_price="):
        per_second_gpu_cost(seconds=1, gpus=1, price=a_gpu_price(), cores=1)
    with pytest.raises(SpecError, match="give memory_price="):
        per_second_gpu_cost(seconds=1, gpus=1, price=a_gpu_price(), memory_gib=1)


def test_an_endpoint_bills_whole_minutes_of_every_replica_idle_or_not() -> None:
    price = a_gpu_price(6)
    assert dedicated_endpoint_cost(busy_s=0, idle_s=3600, replicas=2, price=price).usd == 12
    assert dedicated_endpoint_cost(busy_s=61, idle_s=0, replicas=1, price=price).usd == Decimal("0.2")
    assert dedicated_endpoint_cost(busy_s=1, idle_s=119, replicas=1, gpus_per_replica=2, price=price).usd == Decimal(
        "0.4"
    )


@given(busy=st.integers(0, 10**6), idle=st.integers(0, 10**6), more=st.integers(0, 10**5))
def test_idle_time_costs_as_much_as_busy_time_and_more_never_costs_less(busy: int, idle: int, more: int) -> None:
    def cost(busy: int, idle: int) -> Decimal:
        return dedicated_endpoint_cost(busy_s=busy, idle_s=idle, replicas=1, price=a_gpu_price()).usd

    assert cost(busy, idle) == cost(idle, busy)
    assert cost(busy + more, idle) >= cost(busy, idle)


@given(unit=st.sampled_from(get_args(Unit)))
def test_a_bill_refuses_a_price_of_another_unit(unit: Unit) -> None:
    price = a_gpu_price(unit=unit)
    bills: dict[str, Any] = {
        "usd_per_1m_training_tokens": lambda: together_finetune_cost(tokens=1, price=price),
        "usd_per_job": lambda: together_finetune_cost(tokens=1, price=PER_MTOK, minimum=price),
        "gpu": lambda: gpu_time_cost(seconds=1, gpus=1, price=price),
        "usd_per_core_second": lambda: per_second_gpu_cost(
            seconds=1, gpus=1, price=a_gpu_price(), cores=1, core_price=price
        ),
        "usd_per_gib_second": lambda: per_second_gpu_cost(
            seconds=1, gpus=1, price=a_gpu_price(), memory_gib=1, memory_price=price
        ),
        "multiplier": lambda: per_second_gpu_cost(seconds=1, gpus=1, price=a_gpu_price(), region=price),
    }
    for takes, bill in bills.items():
        if unit == takes or (takes == "gpu" and unit in GPU_TIME):
            assert bill().usd > 0
        else:
            with pytest.raises(SpecError):
                bill()


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf")])
def test_a_quantity_that_cant_be_is_refused(wrong: float) -> None:
    with pytest.raises(SpecError, match="seconds is a quantity"):
        gpu_time_cost(seconds=wrong, gpus=1, price=a_gpu_price())


def test_bills_add_up_and_give_plain_data() -> None:
    one = gpu_time_cost(seconds=3600, gpus=1, price=a_gpu_price(2))
    both = one + one
    assert both.usd == 4
    assert both.to_dict()["usd"] == 4.0
    assert both.to_dict()["charges"][0]["price"]["source"].startswith("https://")


def test_a_notebook_shows_bills_and_books_with_links_and_escaped_markup() -> None:
    price = a_gpu_price(2, note="x", sku="<b>", source="<script>alert(1)</script>")
    bill = gpu_time_cost(seconds=3600, gpus=1, price=price) + gpu_time_cost(seconds=3600, gpus=1, price=a_gpu_price(3))
    shown = bill.to_html() + PriceBook([price], today=TODAY).to_html()
    assert "<b>5.00</b>" in shown
    assert "<a href='https://acme.example/prices'>" in shown
    assert "<script>" not in shown
    assert "&lt;b&gt;" in shown
