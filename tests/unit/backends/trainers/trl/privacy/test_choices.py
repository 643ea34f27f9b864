"""What a private job is refused with, and what its plan says."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk import SFT, DoRA, EarlyStopping, FullFineTune, Gap, LoRA, Model, Privacy, QLoRA, SpecError
from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.backends.trainers.trl.privacy.choices import privacy_of, private_gaps
from ftsdk.backends.trainers.trl.translate import translate
from ftsdk.spec import JobSpec
from ftsdk.testing.specs import a_dataset, a_spec

PRIVACY = Privacy(epsilon=8, delta=1e-4)
CPU = Hardware(device="cpu", name="a CPU", has_bfloat16=True, memory_gib=16)
OLD_GPU = Hardware(device="cuda", name="a T4", has_bfloat16=False, memory_gib=16)


def gaps_of(spec: JobSpec, hardware: Hardware = CPU) -> list[Gap]:
    privacy = privacy_of(spec)
    assert privacy is not None
    return list(private_gaps(spec, privacy, hardware))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("tuning", {"tuning": FullFineTune()}),
        ("tuning", {"tuning": QLoRA()}),
        ("tuning", {"tuning": DoRA()}),
        ("early_stopping", {"early_stopping": EarlyStopping(), "validation": a_dataset("validation", rows=10)}),
        ("max_grad_norm", {"max_grad_norm": 1.0}),
        ("dtype", {"dtype": "float16"}),
        ("packing", {"packing": True}),
        ("optimizer", {"optimizer": "adamw_8bit"}),
        ("method.neftune_alpha", {"method": SFT(privacy=PRIVACY, neftune_alpha=5.0)}),
        ("model.add_tokens", {"model": Model(id="example/tiny", add_tokens=("<order>",))}),
        ("model.adapter", {"model": Model(id="example/tiny", adapter="adapters/first")}),
        ("method.privacy.delta", {"method": SFT(privacy=Privacy(epsilon=8, delta=0.01))}),
        ("method.privacy", {"train": a_dataset().replace(sequences=150)}),
    ],
)
def test_what_cannot_be_private_is_refused_by_name(field: str, changes: dict[str, Any]) -> None:
    [gap] = gaps_of(a_spec(**{"method": SFT(privacy=PRIVACY), **changes}))
    assert gap.field == field
    assert gap.reason


def test_a_private_job_is_planned_with_its_noise() -> None:
    spec = a_spec(method=SFT(privacy=PRIVACY), batch_size=10, epochs=2)
    assert gaps_of(spec) == []
    plan = translate(spec, CPU)
    assert plan.gaps == ()
    chosen = {adjustment.field: adjustment for adjustment in plan.adjustments}
    assert chosen["privacy.noise_multiplier"].chosen == pytest.approx(0.75, abs=0.2)
    assert "20 steps" in chosen["privacy.noise_multiplier"].reason
    assert plan.request["packed_tokens"] is None
    assert plan.request["max_grad_norm"] == 0.0
    assert plan.request["method"]["privacy"] == {"epsilon": 8.0, "delta": 1e-4, "max_grad_norm": 1.0}
    assert any("log isn't protected" in note for note in plan.notes)
    assert plan.workload is not None
    assert plan.workload.execution is not None
    assert not plan.workload.execution.recomputes


def test_devices_are_used_as_privacy_allows() -> None:
    spec = a_spec(method=SFT(privacy=PRIVACY), tuning=LoRA())
    assert translate(spec, OLD_GPU).request["dtype"] == "float32"
    two = Hardware(device="cuda", name="two A10s", has_bfloat16=True, memory_gib=22, processes=2)
    assert [gap.field for gap in gaps_of(spec, two)] == ["method.privacy"]


def test_a_job_without_privacy_is_planned_as_before() -> None:
    plan = translate(a_spec(), CPU)
    assert "privacy" not in plan.request["method"]
    assert not any("privacy" in adjustment.field for adjustment in plan.adjustments)
    assert a_spec().method.extras == ()
    assert SFT(privacy=PRIVACY).extras == ("privacy",)


@pytest.mark.parametrize("wrong", [{"epsilon": 0}, {"epsilon": -1}, {"delta": 0}, {"delta": 1}, {"max_grad_norm": 0}])
def test_numbers_that_promise_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=next(iter(wrong))):
        Privacy(**{"epsilon": 8, "delta": 1e-5, **wrong})
