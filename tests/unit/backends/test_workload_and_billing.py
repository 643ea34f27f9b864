"""What backends state in their plans for estimates: the workload and the billing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ftsdk import DPO, Local, Modal, Together
from ftsdk.protocol import HourlyBilling, NotBilled, Plan, TokenBilling
from ftsdk.spec import DatasetRef, Model
from ftsdk.testing import a_spec

LLAMA = Model(id="meta-llama/Llama-3.1-8B-Instruct")


def billed_by_the_hour(backend: Any, **changes: Any) -> HourlyBilling:
    billing = backend.plan(a_spec(model=LLAMA, **changes)).billing
    assert isinstance(billing, HourlyBilling)
    return billing


def test_a_hosted_workload_is_what_the_request_says() -> None:
    pairs = DatasetRef(fingerprint="1" * 64, format="preference", rows=100)
    for changes in ({"max_steps": 3}, {"method": DPO(), "train": pairs}, {"max_length": 256, "dtype": "float16"}):
        plan = Modal(gpu="A10:2").plan(a_spec(model=LLAMA, **changes))
        training = plan.request["training"]
        assert plan.workload is not None
        done = plan.workload.execution
        assert done is not None
        assert (done.steps, done.micro_batch_size) == (training["total_steps"], training["micro_batch_size"])
        assert (done.accumulation_steps, done.devices) == (training["accumulation_steps"], training["processes"])
        assert (done.precision, plan.workload.max_length) == (training["dtype"], training["max_length"])


def test_max_steps_shorten_the_epochs_of_a_workload() -> None:
    spec = a_spec(model=LLAMA, epochs=3, max_steps=1, batch_size=2)
    workload = Together(models={LLAMA.id: "x"}).plan(a_spec(model=LLAMA)).workload
    assert workload is not None
    assert (workload.epochs, workload.execution) == (a_spec().epochs, None)
    hosted = Modal(gpu="L4").plan(spec).workload
    assert hosted is not None
    assert hosted.epochs == pytest.approx(min(3, 2 / spec.train.rows))


def test_modal_rates_add_up_to_its_price_in_every_region() -> None:
    plain, pinned = (
        billed_by_the_hour(Modal(gpu="A10", cpu=4, memory_gib=32, region=region)) for region in (None, "us")
    )
    assert [rate.label for rate in plain.rates] == ["GPU", "CPU", "memory"]
    assert plain.usd_per_hour == plain.most_usd_per_hour
    assert pinned.usd_per_hour == plain.usd_per_hour * Decimal("1.5")
    assert (plain.start_s, plain.max_attempts) == (300, 3)


def test_a_machine_of_ones_own_bills_nothing_or_its_owners_price() -> None:
    free = Local(device="cpu").plan(a_spec(model=LLAMA, budget_usd=1)).billing
    assert isinstance(free, NotBilled)
    assert "budget_usd=1 has no effect" in free.note
    assert billed_by_the_hour(Local(device="cpu", usd_per_hour=1.5)).usd_per_hour == Decimal("1.5")


@pytest.mark.parametrize(("changes", "row_tokens"), [({}, None), ({"packing": False, "max_length": 2048}, 2048)])
def test_together_bills_tokens_with_a_minimum(changes: dict[str, Any], row_tokens: int | None) -> None:
    plan = Together().plan(a_spec(model=LLAMA, epochs=2, **changes))
    billing = plan.billing
    assert isinstance(billing, TokenBilling)
    assert (billing.epochs, billing.row_tokens, billing.pads_rows) == (2, row_tokens, row_tokens is not None)
    assert billing.minimum is not None
    assert billing.minimum.usd == 4
    assert Plan.from_dict(plan.to_dict()) == plan
