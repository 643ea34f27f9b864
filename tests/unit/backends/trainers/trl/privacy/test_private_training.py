"""Private steps: the gradient of each row, clipped; noise that only a key repeats; and no step made twice otherwise."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
pytest.importorskip("opacus", reason="the extra 'privacy' isn't installed")
import torch
from datasets import Dataset as HfDataset
from opacus.grad_sample import GradSampleHooks
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, LlamaForCausalLM
from trl.trainer.sft_config import SFTConfig
from trl_trainers import Columns, some_rows

from ftsdk import Privacy
from ftsdk.backends.hosted.trainer import TrainingStopped
from ftsdk.backends.trainers.trl.privacy.noise import KeyedRandomness, key_in
from ftsdk.backends.trainers.trl.privacy.poisson import PoissonBatches
from ftsdk.backends.trainers.trl.privacy.single_rows import check_single_rows, gradients_of_rows
from ftsdk.backends.trainers.trl.privacy.trainer import PrivateSFTTrainer
from ftsdk.backends.trainers.trl.rows import IGNORED, PadToLongest

_RECOMPUTES = next(name for name in ("activation_checkpointing", "gradient_checkpointing") if hasattr(SFTConfig, name))
MODEST = Privacy(epsilon=8, delta=1e-3)


def adapted(tiny_model: Path, *, dropout: float = 0.0) -> Any:
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM.from_pretrained(tiny_model, attn_implementation="sdpa")
    model = get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", lora_dropout=dropout)
    )
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)
    model.enable_input_require_grads()
    return model


def trainer_of(
    tiny_model: Path, into: Path, *, rows: Columns | None = None, privacy: Privacy = MODEST, **options: Any
) -> tuple[Any, list[str]]:
    arguments: dict[str, Any] = {
        "output_dir": str(into),
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "loss_type": "nll",
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "max_length": None,
        _RECOMPUTES: False,
        "max_grad_norm": 0.0,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "disable_tqdm": True,
        "num_train_epochs": 2,
        "save_steps": 3,
        **options,
    }
    trainer = PrivateSFTTrainer(
        model=adapted(tiny_model, dropout=0.1),
        args=SFTConfig(**arguments),
        train_dataset=HfDataset.from_dict(dict(rows or some_rows())),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
        data_collator=PadToLongest(0),
    )
    messages: list[str] = []
    trainer.keep_private(privacy, batch_size=4, on_message=messages.append)
    return trainer, messages


def weights_of(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters() if weight.requires_grad}


def test_the_gradient_of_each_row_is_the_one_it_has_alone(tiny_model: Path, tmp_path: Path) -> None:
    trainer, _ = trainer_of(tiny_model, tmp_path)
    model, collate = trainer.model, PadToLongest(0)
    rows = [trainer.train_dataset[number] for number in range(6)]
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()
    trainer._row_losses(model, collate(rows)).sum().backward()
    together = {n: w.grad_sample.clone() for n, w in model.named_parameters() if w.requires_grad}
    trainer.watch_no_more()
    for number, row in enumerate(rows):
        model.zero_grad()
        trainer._row_losses(model, collate([row])).sum().backward()
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                assert (together[name][number] - weight.grad).abs().max() <= 1e-6, name


def test_a_row_moves_the_weights_by_no_more_than_the_clipping_norm(tiny_model: Path, tmp_path: Path) -> None:
    """Sensitivity: the sum before the noise, with one row more and with one row less."""
    trainer, _ = trainer_of(tiny_model, tmp_path, privacy=Privacy(epsilon=8, delta=1e-3, max_grad_norm=0.01))
    optimizer, collate = trainer.create_optimizer(), PadToLongest(0)
    rows = [trainer.train_dataset[number] for number in range(5)]
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0

    def summed(some: list[Any]) -> torch.Tensor:
        trainer.training_step(trainer.model, collate(some))
        return torch.cat([weight.summed_grad.flatten() for weight in optimizer.params])

    whole = summed(rows)
    for number in range(len(rows)):
        rest = summed(rows[:number] + rows[number + 1 :])
        assert 0.0099 <= (whole - rest).norm() <= 0.010001


def test_a_step_without_rows_is_noise_of_the_right_size(tiny_model: Path, tmp_path: Path) -> None:
    trainer, _ = trainer_of(tiny_model, tmp_path)
    optimizer = trainer.create_optimizer()
    loss = trainer.training_step(trainer.model, trainer._collate([]))
    optimizer.pre_step()
    gradient = torch.cat([weight.grad.flatten() for weight in optimizer.params]) * 4
    assert loss == 0
    assert gradient.std().item() == pytest.approx(optimizer.noise_multiplier * optimizer.max_grad_norm, rel=0.05)
    with pytest.raises(RuntimeError, match="no clipped gradients"):
        optimizer.pre_step()


def test_training_spends_what_was_promised_and_moves_every_weight(tiny_model: Path, tmp_path: Path) -> None:
    trainer, messages = trainer_of(tiny_model, tmp_path)
    before = weights_of(trainer)
    trainer.train()
    assert all((weight != before[name]).any() for name, weight in weights_of(trainer).items())
    facts = trainer.private_facts()
    assert facts["steps"] == 6
    assert 0.99 * MODEST.epsilon <= facts["epsilon"] <= MODEST.epsilon
    assert [f"by step {step}" in message for step, message in zip((3, 6), messages[1:], strict=True)] == [True, True]
    assert not any("grad_norm" in entry for entry in trainer.state.log_history)


def test_a_resumed_training_makes_the_same_steps(tiny_model: Path, tmp_path: Path) -> None:
    whole, _ = trainer_of(tiny_model, tmp_path / "one")
    whole.train()
    folder = tmp_path / "two"
    folder.mkdir()
    shutil.copy(tmp_path / "one" / "privacy.key", folder)
    shutil.copytree(tmp_path / "one" / "checkpoint-3", folder / "checkpoint-3")
    resumed, _ = trainer_of(tiny_model, folder)
    resumed.train(resume_from_checkpoint=str(folder / "checkpoint-3"))
    assert resumed.private_facts() == whole.private_facts()
    expected = weights_of(whole)
    assert all(torch.equal(weight, expected[name]) for name, weight in weights_of(resumed).items())
    # Without the key, other noise would be drawn.
    (folder / "privacy.key").unlink()
    with pytest.raises(TrainingStopped, match="key of its private noise is gone"):
        trainer_of(tiny_model, folder)


def test_a_checkpoint_of_another_account_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    trainer, _ = trainer_of(tiny_model, tmp_path)
    trainer.train()
    state = tmp_path / "checkpoint-3" / "privacy.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "noise_multiplier": 0.1}))
    again, _ = trainer_of(tiny_model, tmp_path)
    with pytest.raises(TrainingStopped, match=r"another privacy account \(noise_multiplier\)"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_memory_that_runs_out_makes_parts_smaller_and_the_sum_the_same(tiny_model: Path, tmp_path: Path) -> None:
    trainer, messages = trainer_of(tiny_model, tmp_path)
    optimizer = trainer.create_optimizer()
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = PadToLongest(0)([trainer.train_dataset[number] for number in range(4)])

    def summed() -> torch.Tensor:
        trainer.training_step(trainer.model, batch)
        return torch.cat([weight.summed_grad.flatten() for weight in optimizer.params])

    def ask(gradient: torch.Tensor) -> None:
        if len(gradient) > 2:
            torch.empty(2**50)

    def hook(module: Any, given: Any, output: Any) -> None:
        if output.requires_grad:
            output.register_hook(ask)

    expected = summed()
    trainer.model.get_base_model().model.layers[0].register_forward_hook(
        lambda module, given, output: hook(module, given, output if torch.is_tensor(output) else output[0])
    )
    assert torch.allclose(summed(), expected, atol=1e-7)
    assert "2 rows go through" in messages[-1]


def test_secrets_are_learned_with_a_large_budget_and_not_with_a_small_one(tiny_model: Path, tmp_path: Path) -> None:
    """Exposure: how far down a secret is in the list of 32 that might have been it; 5 bits at most, 1.3 for chance."""
    draw = random.Random(4)
    asked = [[draw.randrange(100) for _ in range(5)] for _ in range(6)]
    answers = [[[draw.randrange(100) for _ in range(6)] for _ in range(32)] for _ in asked]
    rows = {
        "input_ids": [prompt + some[0] for prompt, some in zip(asked, answers, strict=True)],
        "labels": [[IGNORED] * 5 + some[0] for some in answers],
    }

    def exposure(epsilon: float) -> float:
        trainer, _ = trainer_of(
            tiny_model,
            tmp_path / str(epsilon),
            rows=rows,
            privacy=Privacy(epsilon=epsilon, delta=1e-2),
            num_train_epochs=20,
            learning_rate=3e-2,
            save_strategy="no",
        )
        trainer.train()
        trainer.model.eval()
        bits: list[float] = []
        for prompt, some in zip(asked, answers, strict=True):
            batch = [{"input_ids": prompt + answer, "labels": [IGNORED] * 5 + answer} for answer in some]
            with torch.no_grad():
                losses = trainer._row_losses(trainer.model, PadToLongest(0)(batch))
            bits.append(5 - math.log2(1 + int((losses < losses[0]).sum())))
        return sum(bits) / len(bits)

    assert exposure(1000) > 4
    assert exposure(0.2) < 3.5


def test_a_model_that_mixes_rows_is_refused(tiny_model: Path) -> None:
    model, unmixed = adapted(tiny_model), adapted(tiny_model)
    assert check_single_rows(unmixed, vocabulary=100) is not None  # nothing watches it
    GradSampleHooks(unmixed, loss_reduction="sum", strict=False)
    assert check_single_rows(unmixed, vocabulary=100) is None
    # As the experts of a mixture see them: tokens of all rows in one long list.
    layer = model.get_base_model().model.layers[1].mlp
    own = layer.forward
    layer.forward = lambda x: own(x.reshape(1, -1, x.shape[-1])).reshape(x.shape)
    GradSampleHooks(model, loss_reduction="sum", strict=False)
    assert "for 3 rows" in str(check_single_rows(model, vocabulary=100))
    # Each row a little in the others: the shapes are right, the gradients aren't.
    leaky = adapted(tiny_model)
    layer = leaky.get_base_model().model.layers[1].mlp
    forward = layer.forward
    layer.forward = lambda x: forward(x + 0.5 * x.mean(dim=0, keepdim=True))
    GradSampleHooks(leaky, loss_reduction="sum", strict=False)
    assert "is off by" in str(check_single_rows(leaky, vocabulary=100))


def test_gradients_of_made_up_rows_have_one_entry_a_row(tiny_model: Path) -> None:
    model = adapted(tiny_model)
    GradSampleHooks(model, loss_reduction="sum", strict=False)
    model.train()
    found = gradients_of_rows(model, [torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6, 7])])
    assert {len(gradient) for gradient in found} == {2}


def test_rows_are_taken_at_random_each_for_itself() -> None:
    batches = PoissonBatches(1000, batch_size=50, randomness=KeyedRandomness(b"k" * 32))
    sizes: list[int] = []
    taken = torch.zeros(1000)
    for epoch in range(10):
        batches.set_epoch(epoch)
        for rows in batches:
            sizes.append(len(rows))
            taken[rows] += 1
    assert len(sizes) == 200
    counts = torch.tensor(sizes, dtype=torch.float64)
    # Binomial: mean 50, variance 47.5; four standard errors.
    assert counts.mean().item() == pytest.approx(50, abs=4 * (47.5 / 200) ** 0.5)
    assert counts.var().item() == pytest.approx(47.5, rel=0.4)
    assert taken.mean().item() == pytest.approx(10, abs=0.5)
    assert taken.max() > 17
    assert list(batches) == list(batches)
    small = PoissonBatches(3, batch_size=3, randomness=KeyedRandomness(b"k" * 32))
    assert list(small) == [[0, 1, 2]]


def test_noise_is_normal_and_only_its_key_repeats_it() -> None:
    one, same, other = KeyedRandomness(b"a" * 32), KeyedRandomness(b"a" * 32), KeyedRandomness(b"b" * 32)
    like = torch.empty(101, 301)
    noise = one.gaussian(like, "noise", 3, 0)
    assert noise.shape == like.shape
    assert torch.equal(noise, same.gaussian(like, "noise", 3, 0))
    for numbers in (
        other.gaussian(like, "noise", 3, 0),
        one.gaussian(like, "noise", 4, 0),
        one.gaussian(like, "noise", 3, 1),
    ):
        assert abs((noise * numbers).mean().item()) < 0.03
    assert noise.mean().item() == pytest.approx(0, abs=0.03)
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    assert (noise.abs() > 1.96).float().mean().item() == pytest.approx(0.05, abs=0.006)
    assert (noise.abs() > 3).float().mean().item() == pytest.approx(0.0027, abs=0.0015)
    assert one.name == same.name != other.name


def test_a_key_is_drawn_once_and_kept_for_its_owner(tmp_path: Path) -> None:
    assert key_in(tmp_path / "run", is_new=False) is None
    key = key_in(tmp_path / "run", is_new=True)
    assert key is not None
    assert len(key) == 32
    assert key_in(tmp_path / "run", is_new=True) == key
    assert key_in(tmp_path / "other", is_new=True) != key
    file = next((tmp_path / "run").iterdir())
    assert file.stat().st_mode & 0o077 == 0
    file.write_bytes(b"short")
    assert key_in(tmp_path / "run", is_new=True) is None
