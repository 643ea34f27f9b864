"""What the local backend decides, without loading torch."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ftsdk import (
    DPO,
    BudgetExceededError,
    Dataset,
    DoRA,
    EarlyStopping,
    FineTuneJob,
    FullFineTune,
    Local,
    Model,
    ModelError,
    QLoRA,
    SpecError,
    UnsupportedSpecError,
)
from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.backends.launchers.this_machine import find_hardware
from ftsdk.backends.trainers.trl.translate import translate
from ftsdk.protocol import Plan

CPU = Hardware(device="cpu", name="4-core CPU", memory_gib=16.0, has_bfloat16=False)
H100 = Hardware(device="cuda", name="NVIDIA H100 80GB HBM3", memory_gib=79.6, processes=2)
T4 = Hardware(device="cuda", name="Tesla T4", memory_gib=14.6, has_bfloat16=False)
OF_KNOWN_SIZE = "acme/model-1B"
MPS = Hardware(device="mps", name="Apple M3")


@pytest.fixture
def model(model_of_headers: Path) -> str:
    return str(model_of_headers)


def data(n: int = 100) -> Dataset:
    return Dataset.from_rows([{"q": f"question {i}", "a": "yes" if i % 2 else "no"} for i in range(n)]).as_chat(
        prompt="{q}", completion="{a}"
    )


def job(model: str, **changes: Any) -> FineTuneJob:
    return FineTuneJob(**{"model": model, "train": data(), "backend": Local(device="cpu"), **changes})


def chosen(plan: Plan) -> dict[str, Any]:
    return {a.field: a.chosen for a in plan.adjustments}


def test_a_plan_prints_what_was_chosen_and_why(model: str) -> None:
    plan = job(model).plan()
    text = str(plan)
    for words in ("100 training rows", "learning_rate", "0.0002", "QLoRA's recipe", "this machine bills nothing"):
        assert words in text
    assert "<table>" in plan.to_html()
    assert Plan.from_dict(plan.to_dict()) == plan


def test_everything_left_open_is_decided_and_told(model: str) -> None:
    told = chosen(job(model).plan())
    assert {
        "learning_rate",
        "weight_decay",
        "max_grad_norm",
        "max_length",
        "dtype",
        "attention",
        "micro_batch_size",
        "checkpoint_steps",
        "device",
    } <= set(told)
    assert told["max_length"] == 256


def test_what_was_set_is_not_told_as_chosen(model: str) -> None:
    plan = job(model, learning_rate=1e-3, max_length=64, dtype="float32", weight_decay=0.1).plan()
    assert not {"learning_rate", "max_length", "dtype", "weight_decay"} & set(chosen(plan))
    assert plan.request["training"]["learning_rate"] == 1e-3


@pytest.mark.parametrize(
    ("hardware", "dtype"),
    [(CPU, "float32"), (H100, "bfloat16"), (T4, "float16")],
)
def test_the_number_format_is_what_the_device_is_good_at(model: str, hardware: Hardware, dtype: str) -> None:
    assert translate(job(model).spec(), hardware).request["dtype"] == dtype


@pytest.mark.parametrize(
    ("hardware", "changes", "field"),
    [
        (CPU, {"dtype": "float16"}, "dtype"),
        (MPS, {"tuning": QLoRA()}, "tuning"),
        (H100, {"batch_size": 15}, "batch_size"),
        (CPU, {"max_length": 1000}, "max_length"),
    ],
)
def test_what_this_device_cannot_do_is_a_gap_that_names_the_field(
    model: str, hardware: Hardware, changes: dict[str, Any], field: str
) -> None:
    gaps = translate(job(model, **changes).spec(), hardware).gaps
    assert [gap.field for gap in gaps] == [field]
    assert gaps[0].offered


def test_early_stopping_wants_a_checkpoint_with_each_validation(model: str) -> None:
    train, validation, _ = data().split(validation=0.2, seed=0)
    plan = job(model, train=train, validation=validation, early_stopping=EarlyStopping(), eval_steps=4).plan()
    assert plan.request["training"]["checkpoint_steps"] == 4
    with pytest.raises(UnsupportedSpecError, match="checkpoint_steps"):
        job(
            model, train=train, validation=validation, early_stopping=EarlyStopping(), eval_steps=4, checkpoint_steps=3
        ).plan()


def test_packing_is_refused_in_words(model: str) -> None:
    with pytest.raises(UnsupportedSpecError, match="packing = True"):
        job(model, packing=True).plan()


def test_the_batch_is_exact_on_every_device(model: str) -> None:
    for hardware in (CPU, T4, MPS, Hardware(device="cuda", name="x", memory_gib=24, processes=4)):
        for batch_size in (4, 8, 12, 16, 48):
            request = translate(job(model, batch_size=batch_size).spec(), hardware).request
            assert request["micro_batch_size"] * request["accumulation_steps"] * hardware.processes == batch_size


def test_dora_and_full_are_told_apart_in_the_request(model: str) -> None:
    assert translate(job(model, tuning=DoRA()).spec(), CPU).request["tuning"]["dora"] is True
    assert translate(job(model, tuning=FullFineTune()).spec(), CPU).request["tuning"] == {"kind": "full"}


def test_a_device_that_is_not_there_is_refused() -> None:
    if find_hardware(device=None, processes=None).device != "cuda":
        with pytest.raises(SpecError, match="no CUDA device is visible"):
            find_hardware(device="cuda", processes=None)
    with pytest.raises(SpecError, match="unknown device 'gpu'"):
        find_hardware(device="gpu", processes=None)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="at least 1"):
        find_hardware(device="cpu", processes=0)


def test_a_model_that_is_not_there_is_refused_and_nothing_is_written(tmp_path: Path, ftsdk_home: Path) -> None:
    with pytest.raises(ModelError):
        job(str(tmp_path / "nowhere")).submit()
    assert not ftsdk_home.exists()


def test_an_hourly_price_is_in_the_request_the_estimate_and_the_options(model: str) -> None:
    priced = job(model, backend=Local(device="cpu", usd_per_hour=1.5))
    plan = priced.plan()
    assert plan.request["launch"]["usd_per_hour"] == "1.5"
    assert plan.estimate is not None
    assert plan.estimate.billing_terms is not None
    assert (plan.estimate.billing_terms.kind, plan.estimate.billing_terms.usd) == ("per_hour", Decimal("1.5"))
    assert "$1.50 an hour, from Local(usd_per_hour=)" in str(plan)
    assert json.loads(json.dumps(priced.resolved_backend.options)) == {"device": "cpu", "usd_per_hour": 1.5}
    assert "usd_per_hour" not in job(model).plan().request["launch"]


def test_the_price_of_an_hour_can_stand_in_a_job_file(model: str, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    job(model, backend=Local(device="cpu", usd_per_hour=Decimal("0.85"))).to_yaml(file)
    assert "usd_per_hour: 0.85" in file.read_text()
    assert FineTuneJob.from_yaml(file).plan().request["launch"]["usd_per_hour"] == "0.85"


def test_twice_the_price_is_twice_the_cost_and_a_what_if_counts_before_it() -> None:
    one, two = (
        job(OF_KNOWN_SIZE, backend=Local(device="cpu", usd_per_hour=rate)).estimate(is_exact=False).cost
        for rate in (100, 200)
    )
    asked = (
        job(OF_KNOWN_SIZE, backend=Local(device="cpu", usd_per_hour=100))
        .estimate(is_exact=False, usd_per_hour=200)
        .cost
    )
    assert one is not None
    assert two is not None
    assert asked is not None
    assert float(two.likely / one.likely) == pytest.approx(2, rel=1e-3)
    assert asked.likely == two.likely


def test_a_local_run_that_could_exceed_its_budget_is_not_started(ftsdk_home: Path) -> None:
    with pytest.raises(BudgetExceededError, match=r"from Local\(usd_per_hour=\).*more than budget_usd=1") as caught:
        job(OF_KNOWN_SIZE, backend=Local(device="cpu", usd_per_hour=1000), budget_usd=1).submit()
    assert caught.value.budget_usd == 1
    assert not (ftsdk_home / "runs").exists()
    assert "has no effect" in job(OF_KNOWN_SIZE, budget_usd=1).plan().cost_note


@pytest.mark.parametrize("price", [0, -1, float("nan"), float("inf"), True, "much"])
def test_what_is_no_price_is_refused(price: Any) -> None:
    with pytest.raises(SpecError, match="usd_per_hour"):
        Local(usd_per_hour=price)


@pytest.mark.parametrize(("bias", "fields"), [("none", []), ("all", ["method"]), ("lora_only", ["method"])])
def test_dpo_on_an_adapter_with_biases_is_refused(model: str, tmp_path: Path, bias: str, fields: list[str]) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 8, "target_modules": ["q_proj"], "bias": bias}))
    shutil.copy(Path(model) / "model.safetensors", adapter / "adapter_model.safetensors")
    pairs = Dataset.from_rows([{"q": "a", "good": "b", "bad": "c"}]).as_preference(
        prompt="{q}", chosen="{good}", rejected="{bad}"
    )
    further = job(model).replace(model=Model(id=model, adapter=str(adapter)), train=pairs, method=DPO(), batch_size=1)
    assert [gap.field for gap in translate(further.spec(), CPU).gaps] == fields
