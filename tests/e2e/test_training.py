"""Every method and tuning, through the real worker and TRL, on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk import (
    DPO,
    Dataset,
    DatasetError,
    DoRA,
    EarlyStopping,
    FineTuneJob,
    FullFineTune,
    LoRA,
    QLoRA,
    Run,
    RunFailedError,
)
from ftsdk.protocol import EvalEvent, StateEvent, StepEvent

pytestmark = pytest.mark.e2e
MakeJob = Callable[..., FineTuneJob]


def finish(job: FineTuneJob) -> Run:
    return job.submit().wait(progress=False, poll_s=0.05)


def steps(run: Run) -> list[StepEvent]:
    return [e for e in run.events() if isinstance(e, StepEvent)]


@pytest.fixture(scope="session")
def wide_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bitsandbytes packs weights in blocks of 64."""
    from ftsdk.testing.tiny import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("wide-model"), hidden_size=64)


@pytest.mark.parametrize("tuning", [LoRA(rank=4), DoRA(rank=4), FullFineTune()], ids=lambda t: t.kind)
def test_sft_lowers_the_loss_and_saves_weights_that_load(make_job: MakeJob, tuning: Any) -> None:
    run = finish(make_job(tuning=tuning))
    seen = steps(run)
    assert [e.step for e in seen] == list(range(1, 13))
    assert seen[-1].loss is not None
    assert seen[0].loss is not None
    assert seen[-1].loss < seen[0].loss
    assert seen[-1].tokens_per_s
    artifact = run.collect()
    assert artifact.kind == ("model" if tuning.kind == "full" else "adapter")
    names = {p.name for p in artifact.path.iterdir()}
    assert {"manifest.json", "tokenizer.json", "chat_template.jinja"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth"))]
    from ftsdk.models import load_model

    load_model(run.model(), dtype="float32", device="cpu")


def test_plain_peft_opens_an_adapter_of_a_folder(make_job: MakeJob, tiny_model: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    from ftsdk.models import load_model

    run = finish(make_job(tuning=LoRA(rank=4), max_steps=2))
    artifact = run.collect()
    config = json.loads((artifact.path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_model.resolve())
    assert str(tiny_model.resolve()) in (artifact.path / "README.md").read_text()
    assert artifact.base == tiny_model.name
    theirs: Any = AutoPeftModelForCausalLM.from_pretrained(artifact.path)
    ours = load_model(run.model(), dtype="float32", device="cpu")
    mine, yours = ours.state_dict(), theirs.state_dict()
    assert mine.keys() == yours.keys()
    assert all(mine[name].equal(yours[name].to(mine[name].dtype)) for name in mine if "lora_" in name)


def test_qlora_trains_on_four_bit_weights_through_a_validation(
    make_job: MakeJob, wide_model: Path, chat_rows: Callable[[int], Dataset]
) -> None:
    train, validation, _ = chat_rows(64).split(validation=16, seed=1)
    run = finish(
        make_job(
            model=str(wide_model),
            tuning=QLoRA(rank=4, dropout=0),
            train=train,
            validation=validation,
            eval_steps=3,
            dtype="bfloat16",
        )
    )
    losses = [e.metrics["loss"] for e in run.events() if isinstance(e, EvalEvent)]
    assert len(losses) == 4
    assert losses == sorted(losses, reverse=True)
    gradients = [e.grad_norm for e in steps(run)]
    assert all(norm is not None and norm > 0 for norm in gradients)


@pytest.mark.parametrize("tuning", [LoRA(rank=4), FullFineTune()], ids=lambda t: t.kind)
def test_dpo_starts_at_the_logarithm_of_two_and_learns_the_preference(make_job: MakeJob, tuning: Any) -> None:
    pairs = Dataset.from_rows(
        [{"q": f"what about message {i}", "good": "travel", "bad": "kitchen"} for i in range(48)]
    ).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")
    run = finish(make_job(train=pairs, method=DPO(beta=0.5), tuning=tuning, max_steps=6))
    seen = steps(run)
    assert seen[0].loss == pytest.approx(0.6931, abs=1e-3)
    assert seen[-1].loss is not None
    assert seen[-1].loss < 0.69


def test_early_stopping_stops_on_a_rising_loss_and_keeps_the_best_weights(
    make_job: MakeJob, chat_rows: Callable[[int], Dataset]
) -> None:
    train, validation, _ = chat_rows(48).split(validation=16, seed=1)
    run = finish(
        make_job(
            train=train,
            validation=validation,
            tuning=FullFineTune(),
            epochs=30,
            max_steps=60,
            learning_rate=0.5,
            schedule="constant",
            eval_steps=2,
            checkpoint_steps=None,
            early_stopping=EarlyStopping(patience=2),
        )
    )
    losses = {e.step: e.metrics["loss"] for e in run.events() if isinstance(e, EvalEvent)}
    info = run.collect().manifest["info"]
    best = min(losses, key=lambda step: losses[step])
    assert max(losses) < 60
    assert info["best_step"] == best
    assert max(losses) == best + 4


def test_a_batch_is_what_was_asked_for_also_when_it_does_not_fit_at_once(make_job: MakeJob) -> None:
    plan = make_job(batch_size=48).plan()
    assert plan.request["training"]["micro_batch_size"] * plan.request["training"]["accumulation_steps"] == 48


def test_a_stream_is_trained_on_for_as_many_steps_as_were_asked_for(make_job: MakeJob, tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_text(
        "".join(f'{{"prompt": "{n} + 1", "completion": "{n + 1}"}}\n' for n in range(500)), encoding="utf-8"
    )
    job = make_job(train=Dataset.from_file(path, stream=True))
    assert len(job.train) == 96
    assert steps(finish(job))[-1].step == 12


def test_a_loss_that_is_no_number_stops_the_run_and_says_where(
    make_job: MakeJob, tiny_model: Path, tmp_path: Path
) -> None:
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    poisoned = tmp_path / "poisoned"
    shutil.copytree(tiny_model, poisoned)
    tensors = load_file(poisoned / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = torch.nan
    save_file(tensors, poisoned / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RunFailedError) as caught:
        finish(make_job(model=str(poisoned)))
    diagnosis = caught.value.diagnosis
    assert diagnosis.kind == "nan_loss"
    assert diagnosis.step == 1
    assert any("learning_rate" in suggestion for suggestion in diagnosis.suggestions)
    run = Run.open(caught.value.ref)
    assert run.status().state == "failed"
    assert [e.state for e in run.events() if isinstance(e, StateEvent)][-1] == "failed"


def test_rows_that_lose_what_they_teach_are_refused_with_numbers(make_job: MakeJob) -> None:
    with pytest.raises(DatasetError, match="lose trained tokens to max_length=12"):
        make_job(max_length=12).submit()


def test_training_further_on_an_adapter_gives_one_adapter_on_the_same_base(make_job: MakeJob) -> None:
    first = finish(make_job(tuning=LoRA(rank=4), max_steps=3))
    second = finish(make_job(model=first.model(), tuning=LoRA(rank=4), max_steps=3))
    again = second.model()
    assert again.id == first.model().id
    assert again.adapter != first.model().adapter
    assert steps(second)[-1].loss < steps(first)[0].loss  # type: ignore[operator]


def test_cancel_stops_after_the_step_and_twice_is_once(make_job: MakeJob) -> None:
    run = make_job(max_steps=5000, epochs=999, checkpoint_steps=5000).submit()
    for _ in range(2):
        assert run.cancel().state == "cancelled"
    states = [e.state for e in run.events() if isinstance(e, StateEvent)]
    assert states.count("cancelled") == 1
    assert states[-1] == "cancelled"
    assert run.wait(progress=False).status().state == "cancelled"
