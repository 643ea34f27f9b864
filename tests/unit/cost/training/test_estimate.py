"""Estimates of whole jobs, on every kind of backend."""

from __future__ import annotations

import random
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftsdk import (
    DPO,
    BudgetExceededError,
    Dataset,
    DoRA,
    FineTuneJob,
    FullFineTune,
    Local,
    LoRA,
    Modal,
    ModelError,
    QLoRA,
    SpecError,
    Together,
)
from ftsdk.cost.training.calibration import Calibration, Probe
from ftsdk.cost.training.estimate import estimate
from ftsdk.cost.training.tokens import RowTokens
from ftsdk.models import ModelFacts
from ftsdk.protocol import Execution, Plan, Workload
from ftsdk.protocol.estimates import Estimate, EstimateLine, PlannedHardware
from ftsdk.spec import DatasetRef, JobSpec, Model
from ftsdk.testing import ScriptedBackend

MISTRAL = "mistralai/Mistral-7B-Instruct-v0.3"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def rows_of(count: int = 400, words: int = 60) -> Dataset:
    rows = [{"text": " ".join(["mail"] * (words + n % 7)), "label": "ab"[n % 2]} for n in range(count)]
    return Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")


def job_of(**changes: Any) -> FineTuneJob:
    return FineTuneJob(
        **{"model": MISTRAL, "train": rows_of(), "epochs": 2, "backend": Modal(gpu="A100-80GB"), **changes}
    )


def a_plan(
    *, rows: int = 1000, epochs: float = 3, name: str = "A100-80GB", model: str = MISTRAL, **changes: Any
) -> Plan:
    spec = JobSpec(
        model=Model(id=model),
        train=DatasetRef(fingerprint="0" * 64, format="chat", rows=rows),
        epochs=epochs,
        **changes,
    )
    execution = Execution(
        steps=max(1, round(rows * epochs / 16)),
        micro_batch_size=8,
        accumulation_steps=2,
        sorted_rows=spec.batch_size,
        checkpoints=2,
    )
    hardware = PlannedHardware(device="cuda", name=name, memory_gib=80)
    workload = Workload.of(spec, max_length=None, execution=execution)
    return Plan(backend="local", spec=spec, request={}, workload=workload, hardware=hardware)


def facts_of(name: str = MISTRAL) -> ModelFacts:
    return ModelFacts(source="hub", name=name, is_downloaded=False)


def tokens_of(rows: int = 1000, length: int = 300) -> RowTokens:
    return RowTokens(
        lengths_N=(length,) * rows,
        total=float(length * rows),
        low_factor=1.0,
        high_factor=1.0,
        is_exact=True,
        source="given",
    )


def ordered(found: Estimate) -> None:
    assert found.cost is not None
    assert 0 < found.cost.low <= found.cost.likely <= found.cost.high


def test_on_modal_time_is_money_and_the_cold_start_is_billed() -> None:
    found = job_of().estimate(is_exact=False)
    ordered(found)
    assert found.seconds is not None
    assert found.billing_terms is not None
    hourly = float(found.billing_terms.usd)
    assert found.cost is not None
    assert float(found.cost.likely) == pytest.approx(found.seconds.likely * hourly / 3600, rel=0.02)
    assert {line.label for line in found.cost_lines} == {"GPU", "CPU", "memory"}
    assert all("modal.com/pricing" in line.source and "as of 20" in line.source for line in found.cost_lines)
    assert {"start", "downloading and loading", "training", "checkpoints"} <= {line.label for line in found.time_lines}


def test_on_together_billed_tokens_and_the_minimum_count() -> None:
    found = job_of(model=LLAMA, backend=Together()).estimate(is_exact=False)
    ordered(found)
    assert found.billed_tokens is not None
    assert found.tokens is not None
    assert found.billed_tokens.likely == pytest.approx(found.tokens.likely, rel=0.01)
    assert found.cost is not None
    assert found.cost.likely == 4
    assert [line.label for line in found.cost_lines] == ["training", "up to the minimum"]
    assert found.seconds is None


def test_on_together_rows_that_are_not_packed_are_billed_at_full_length() -> None:
    found = job_of(model=LLAMA, backend=Together(), packing=False, max_length=2048).estimate(is_exact=False)
    assert found.billed_tokens is not None
    assert found.billed_tokens.likely == 400 * 2048 * 2


def test_on_this_machine_nothing_is_billed_unless_an_hour_has_a_price(tiny_rows_model: Path) -> None:
    job = job_of(model=str(tiny_rows_model), backend=Local(device="cpu"))
    free = job.estimate(is_exact=False)
    assert free.cost is None
    assert free.cost_note == "this machine bills nothing"
    assert free.memory is not None
    assert free.memory.verdict == "fits"
    priced = job.estimate(is_exact=False, usd_per_hour=2)
    ordered(priced)
    assert priced.seconds is not None
    assert priced.cost is not None
    assert float(priced.cost.likely) == pytest.approx(priced.seconds.likely * 2 / 3600, rel=0.01)


def test_what_rows_share_takes_time_once_on_a_cpu(tiny_rows_model: Path) -> None:
    def time_of(instruction: str) -> tuple[float, str]:
        rows = [{"text": f"{instruction} message {n * 7919} {n % 7}", "label": "ab"[n % 2]} for n in range(200)]
        train = Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")
        job = job_of(model=str(tiny_rows_model), train=train, backend=Local(device="cpu"))
        (line,) = [line for line in job.estimate(is_exact=False).time_lines if line.label == "training"]
        return line.amount.likely, line.source

    short, _ = time_of("")
    shared, source = time_of("Sort the message into one of two kinds. " * 20)
    assert "since what rows share is computed once" in source
    assert shared < 3 * short


def test_the_prompt_of_a_pair_takes_time_once_on_a_cpu(tiny_rows_model: Path) -> None:
    def source_of(epochs: float) -> tuple[float, str]:
        rows = [
            {"q": f"{n * 7919} " + "why is that so? " * 20, "good": f"yes {n}", "bad": f"no {n}"} for n in range(64)
        ]
        train = Dataset.from_rows(rows).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")
        job = job_of(model=str(tiny_rows_model), train=train, method=DPO(), epochs=epochs, backend=Local(device="cpu"))
        (line,) = [line for line in job.estimate(is_exact=False).time_lines if line.label == "training"]
        return line.amount.likely, line.source

    once, source = source_of(1)
    found = re.search(r"([\d,]+) of ([\d,]+) tokens a sequence", source)
    assert found is not None
    computed, read = (int(number.replace(",", "")) for number in found.groups())
    assert 0.4 * read < computed < 0.65 * read
    # What the reference says of a pair is kept for the epochs after the first.
    assert "3 passes" in source
    thrice, source = source_of(3)
    assert "2.33 passes" in source
    assert thrice < 3 * once


@pytest.mark.parametrize("usd_per_hour", [0, -1, float("nan"), 1e30])
def test_what_is_no_price_for_an_hour_is_refused(usd_per_hour: float) -> None:
    with pytest.raises(SpecError, match="usd_per_hour"):
        job_of().estimate(is_exact=False, usd_per_hour=usd_per_hour)


@pytest.mark.parametrize(
    ("backend", "budget_usd"), [("together", 1), ("modal", 0.01), (Local(device="cpu", usd_per_hour=9), 0.01)]
)
def test_asking_what_a_run_costs_is_answered_whatever_the_budget_is(
    backend: Any, budget_usd: float, tiny_rows_model: Path
) -> None:
    model = LLAMA if backend != "local" and not isinstance(backend, Local) else str(tiny_rows_model)
    found = job_of(model=model, backend=backend, budget_usd=budget_usd).estimate(is_exact=False)
    assert found.cost is not None
    assert found.cost.high > budget_usd
    assert any(f"budget_usd={budget_usd} is less than the upper end" in note for note in found.notes)
    with pytest.raises(BudgetExceededError):
        job_of(model=model, backend=backend, budget_usd=budget_usd).plan()


def test_an_hours_price_is_refused_where_no_hour_is_billed() -> None:
    with pytest.raises(SpecError, match="usd_per_hour=2: together doesn't bill hardware"):
        job_of(model=LLAMA, backend=Together()).estimate(is_exact=False, usd_per_hour=2)


def test_tokens_are_guessed_with_a_note_if_the_tokenizer_is_unusable(tiny_rows_model: Path) -> None:
    job = job_of(model=str(tiny_rows_model), backend=Local(device="cpu"))
    found = job.estimate()
    assert found.tokens is not None
    assert found.tokens.low < found.tokens.high
    assert any("couldn't be used" in note for note in found.notes)
    with pytest.raises(ModelError):
        job.estimate(is_exact=True)


def test_a_backend_that_says_its_cost_and_no_hardware_is_believed(tmp_path: Path) -> None:
    found = job_of(backend=ScriptedBackend(root=tmp_path, cost_usd=(1, 2, 3))).estimate(is_exact=False)
    assert (found.cost.low, found.cost.likely, found.cost.high) == (1, 2, 3) if found.cost else False
    assert found.seconds is None


def test_a_model_of_unknown_size_gets_no_time_and_says_why() -> None:
    found = estimate(a_plan(model="acme/mystery"), facts_of("acme/mystery"), tokens_of())
    assert found.seconds is None
    assert found.memory is None
    assert "size of acme/mystery isn't known" in found.notes[0]


def test_a_plan_shows_the_estimate_and_survives_json() -> None:
    plan = job_of().plan()
    assert plan.estimate is not None
    assert plan.cost == plan.estimate.cost
    for heading in ("Tokens", "Time", "Memory", "Cost"):
        assert heading in str(plan)
        assert heading in plan.to_html()
    assert Plan.from_dict(plan.to_dict()) == plan
    assert "<table>" in plan.estimate.to_html()


def test_a_budget_under_the_upper_end_is_refused_before_anything_starts() -> None:
    high = job_of().estimate(is_exact=False).cost.high  # type: ignore[union-attr]
    with pytest.raises(BudgetExceededError, match=r"doesn't pay|may cost up to"):
        job_of(budget_usd=float(high) / 2).plan()


def test_a_service_with_quotes_is_refused_only_if_the_least_is_too_much() -> None:
    many = rows_of(3000, words=900)
    found = job_of(model=LLAMA, backend=Together(), train=many, epochs=10).estimate(is_exact=False)
    assert found.cost is not None
    between = float(found.cost.low + found.cost.high) / 2
    assert job_of(model=LLAMA, backend=Together(), train=many, epochs=10, budget_usd=between).plan().cost == found.cost
    with pytest.raises(BudgetExceededError, match="at least"):
        job_of(model=LLAMA, backend=Together(), train=many, epochs=10, budget_usd=float(found.cost.low) * 0.9).plan()


def test_an_estimate_without_a_tokenizer_reads_no_row_twice() -> None:
    job_of().estimate(is_exact=False)  # imports and tables
    rows = [{"text": f"mail {n}: " + "where is my parcel? " * 40, "label": "shipping"} for n in range(20_000)]
    job = job_of().replace(train=Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}"))
    taken: list[float] = []
    for _ in range(4):
        start = time.process_time()
        job.estimate(is_exact=False)
        taken.append(time.process_time() - start)
    assert min(taken[1:]) < taken[0] / 2


def test_a_tuning_that_trains_more_needs_more() -> None:
    def peak(tuning: Any) -> float:
        found = estimate(a_plan(tuning=tuning), facts_of(), tokens_of()).memory
        assert found is not None
        return found.peak_gb.likely

    assert peak(QLoRA()) < peak(LoRA(rank=8)) < peak(LoRA(rank=256)) < peak(FullFineTune())


def test_preference_pairs_take_more_than_twice_the_time_of_the_same_chats() -> None:
    pairs = DatasetRef(fingerprint="1" * 64, format="preference", rows=1000)
    base = a_plan()
    assert base.workload is not None
    assert base.workload.execution is not None
    spec = base.spec.replace(train=pairs, method=DPO())
    workload = Workload.of(spec, max_length=None, execution=base.workload.execution.replace(sorted_rows=0))
    dpo = estimate(base.replace(spec=spec, workload=workload), facts_of(), tokens_of())
    sft = estimate(base, facts_of(), tokens_of())

    def training(found: Estimate) -> float:
        return next(line.amount.likely for line in found.time_lines if line.label == "training")

    assert training(dpo) > 2 * training(sft)


def a_calibration(plain: Estimate, *, by: float, tuning: str = "lora", **changes: Any) -> Calibration:
    assert plain.step is not None
    assert plain.memory is not None
    probe = Probe(
        tuning=tuning,
        step=plain.step,
        measured_s=plain.step.seconds * by,
        steps=20,
        at=1.8e9,
        fixed_gb=plain.memory.fixed_gb,
        varying_gb=plain.memory.varying_gb,
        peak_gb=plain.memory.fixed_gb + plain.memory.varying_gb + 3,
        **changes,
    )
    return Calibration(device="A100-80GB", software="torch 2.13", probes=(probe,) * 3)


def line_of(found: Estimate, label: str) -> EstimateLine:
    return next(line for line in found.time_lines if line.label == label)


def test_a_calibration_moves_the_estimate_and_narrows_its_interval() -> None:
    plain = estimate(a_plan(), facts_of(), tokens_of())
    measured = estimate(a_plan(), facts_of(), tokens_of(), calibration=a_calibration(plain, by=1.5))
    assert line_of(measured, "training").amount.likely == pytest.approx(
        1.5 * line_of(plain, "training").amount.likely, rel=0.03
    )
    assert "measured on A100-80GB with torch 2.13" in line_of(measured, "training").source

    def width(found: Estimate) -> float:
        amount = line_of(found, "training").amount
        return amount.high / amount.low

    assert width(measured) < width(plain)
    assert plain.memory is not None
    assert measured.memory is not None
    assert measured.memory.peak_gb.likely == pytest.approx(plain.memory.peak_gb.likely + 3, rel=0.03)
    assert (measured.memory.fixed_gb, measured.memory.varying_gb) == (plain.memory.fixed_gb, plain.memory.varying_gb)
    assert measured.step == plain.step


def test_starts_and_checkpoints_are_taken_as_they_were_measured() -> None:
    facts = ModelFacts(source="folder", name=MISTRAL, is_downloaded=True)
    plain = estimate(a_plan(), facts, tokens_of())
    known = a_calibration(
        plain,
        by=1.0,
        start_s=100.0,
        predicted_start_s=plain.start_s,
        checkpoint_s=9.0,
        predicted_checkpoint_s=plain.checkpoint_s,
    )
    measured = estimate(a_plan(), facts, tokens_of(), calibration=known)
    assert line_of(measured, "start").amount.likely + line_of(
        measured, "loading the model"
    ).amount.likely == pytest.approx(100)
    assert line_of(measured, "checkpoints").amount.likely == pytest.approx(18)


def test_what_another_tuning_showed_narrows_less() -> None:
    plain = estimate(a_plan(), facts_of(), tokens_of())

    def width(tuning: str) -> float:
        amount = line_of(
            estimate(a_plan(), facts_of(), tokens_of(), calibration=a_calibration(plain, by=1.0, tuning=tuning)),
            "training",
        ).amount
        return amount.high / amount.low

    assert width("lora") < width("full")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(length=st.integers(16, 4000), epochs=st.integers(1, 5), more=st.integers(1, 4), rate=st.integers(1, 20))
def test_cost_never_falls_when_tokens_epochs_or_price_rise(length: int, epochs: int, more: int, rate: int) -> None:
    def cost(length: int, epochs: int, rate: int) -> Decimal:
        found = estimate(a_plan(epochs=epochs), facts_of(), tokens_of(1000, length), usd_per_hour=Decimal(rate)).cost
        assert found is not None
        return found.likely

    here = cost(length, epochs, rate)
    assert here > 0
    assert cost(length * more, epochs, rate) >= here
    assert cost(length, epochs * more, rate) >= here
    assert cost(length, epochs, rate * more) >= here


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    length=st.integers(16, 4000),
    at_once=st.integers(1, 32),
    rank=st.integers(1, 128),
    more=st.integers(1, 4),
    tuning=st.sampled_from([LoRA, DoRA, QLoRA]),
)
def test_memory_never_falls_when_length_batch_or_rank_rise(
    length: int, at_once: int, rank: int, more: int, tuning: Any
) -> None:
    def peak_gb(length: int, at_once: int, rank: int) -> tuple[float, float]:
        plan = a_plan(tuning=tuning(rank=rank))
        assert plan.workload is not None
        assert plan.workload.execution is not None
        execution = plan.workload.execution.replace(micro_batch_size=at_once)
        plan = plan.replace(workload=plan.workload.replace(execution=execution))
        found = estimate(plan, facts_of(), tokens_of(200, length)).memory
        assert found is not None
        return found.peak_gb.likely, found.peak_gb.high

    here = peak_gb(length, at_once, rank)
    for other in ((length * more, at_once, rank), (length, at_once * more, rank), (length, at_once, rank * more)):
        assert all(there >= before for there, before in zip(peak_gb(*other), here, strict=True))


@pytest.mark.parametrize("tuning", [LoRA(), DoRA(), QLoRA(), FullFineTune()], ids=lambda t: t.kind)
def test_a_job_takes_no_longer_on_a_newer_card_of_a_line(tuning: Any) -> None:
    def seconds(card: str) -> float:
        return line_of(estimate(a_plan(name=card, tuning=tuning), facts_of(), tokens_of()), "training").amount.likely

    for line in (("A100-40GB", "A100-80GB", "H100", "H200", "B200", "B300"), ("RTX3090", "RTX4090", "RTX5090")):
        times = [seconds(card) for card in line]
        assert times == sorted(times, reverse=True)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(sizes=st.lists(st.integers(1, 400), min_size=8, max_size=60), seed=st.integers(0, 99))
def test_the_order_of_the_rows_changes_no_estimate(sizes: list[int], seed: int) -> None:
    rows = [{"text": "mail " * size, "label": "ab"[size % 2]} for size in sizes]
    mixed = rows.copy()
    random.Random(seed).shuffle(mixed)

    def of(rows: list[dict[str, str]], backend: Any, model: str) -> Estimate:
        train = Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")
        return job_of(train=train, backend=backend, model=model).estimate(is_exact=False)

    for backend, model in ((Modal(gpu="A100-80GB"), MISTRAL), (Together(), LLAMA)):
        one, other = of(rows, backend, model), of(mixed, backend, model)
        assert (one.cost, one.memory) == (other.cost, other.memory)
        assert one.tokens is not None
        assert other.tokens is not None
        assert one.tokens.likely == pytest.approx(other.tokens.likely)


def test_billed_tokens_are_linear_in_epochs() -> None:
    def billed(epochs: int) -> float:
        found = job_of(model=LLAMA, backend=Together(), epochs=epochs).estimate(is_exact=False).billed_tokens
        assert found is not None
        return found.likely

    assert billed(6) == pytest.approx(3 * billed(2), abs=6)


@pytest.fixture
def tiny_rows_model(tmp_path: Path) -> Path:
    """Headers of a model with a shape, which is all that an estimate reads."""
    import json
    import struct

    folder = tmp_path / "shaped"
    folder.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "max_position_embeddings": 256,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 512,
    }
    (folder / "config.json").write_text(json.dumps(config))
    size = 4 * 100_000
    header = json.dumps({"w": {"dtype": "F32", "shape": [100_000], "data_offsets": [0, size]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * size)
    return folder
