"""A step whose rows are packed as a forest is TRL's own step on the same rows."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch
from datasets import Dataset as HfDataset
from transformers import AutoTokenizer, LlamaForCausalLM
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from ftsdk.backends.trainers.trl.methods.sft import RenderedSFTTrainer
from ftsdk.backends.trainers.trl.rows import IGNORED, PadToLongest

_RECOMPUTES = next(name for name in ("activation_checkpointing", "gradient_checkpointing") if hasattr(SFTConfig, name))
"""transformers 5 renamed it."""
Rows = dict[str, list[list[int]]]


@pytest.fixture
def rows() -> Rows:
    draw = random.Random(1)
    start = [draw.randrange(100) for _ in range(18)]
    ids = [start + [draw.randrange(100) for _ in range(draw.randrange(2, 12))] for _ in range(10)]
    ids += [[draw.randrange(100) for _ in range(draw.randrange(5, 40))] for _ in range(2)]
    return {"input_ids": ids, "labels": [[IGNORED] * (len(row) // 2) + row[len(row) // 2 :] for row in ids]}


def trainer_of(kind: type[SFTTrainer], tiny_model: Path, rows: Rows, into: Path, **options: Any) -> Any:
    torch.manual_seed(0)
    arguments = SFTConfig(
        output_dir=str(into),
        dataset_kwargs={"skip_prepare_dataset": True},
        loss_type="nll",
        use_cpu=True,
        bf16=False,
        report_to="none",
        **{_RECOMPUTES: False},
        max_length=None,
        per_device_train_batch_size=12,
        **options,
    )
    return kind(
        model=LlamaForCausalLM.from_pretrained(tiny_model, attn_implementation="sdpa"),
        args=arguments,
        train_dataset=HfDataset.from_dict(dict(rows)),
        eval_dataset=HfDataset.from_dict(dict(rows)),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
        data_collator=PadToLongest(0),
    )


def step_of(trainer: Any) -> tuple[float, dict[str, Any]]:
    """The loss and the gradients of one optimizer step on all rows."""
    found: dict[str, Any] = {}

    class Look(type(trainer.callback_handler.callbacks[0])):
        def on_pre_optimizer_step(self, *arguments: Any, model: Any, **others: Any) -> None:
            found.update((name, weight.grad.clone()) for name, weight in model.named_parameters())

    trainer.callback_handler.callbacks.insert(0, Look())
    return trainer.train().training_loss, found


@pytest.mark.parametrize("most_tokens", [1000, 60])
def test_loss_and_gradients_are_those_of_trl(tiny_model: Path, tmp_path: Path, rows: Rows, most_tokens: int) -> None:
    options = {"max_steps": 1, "max_grad_norm": 0.0}
    loss, gradients = step_of(trainer_of(SFTTrainer, tiny_model, rows, tmp_path, **options))
    messages: list[str] = []
    ours = trainer_of(RenderedSFTTrainer, tiny_model, rows, tmp_path, **options)
    ours.compute_shared_tokens_once(most_tokens, messages.append)
    our_loss, our_gradients = step_of(ours)
    assert our_loss == pytest.approx(loss, rel=1e-5)
    assert our_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert (our_gradients[name] - gradient).norm() <= 1e-5 * gradient.norm(), name
    assert "computed once" in messages[0]


def test_the_validation_is_that_of_padded_rows(tiny_model: Path, tmp_path: Path, rows: Rows) -> None:
    trainer = trainer_of(RenderedSFTTrainer, tiny_model, rows, tmp_path)
    padded = trainer.evaluate()["eval_loss"]
    trainer.compute_shared_tokens_once(60, lambda _: None)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(padded, rel=1e-5)


def test_memory_that_runs_out_makes_pieces_smaller_and_the_step_the_same(
    tiny_model: Path, tmp_path: Path, rows: Rows
) -> None:
    def fails_above(trainer: Any, most: int) -> None:
        """Ask for more memory than there is behind the first layer of a large piece, when gradients flow back."""

        def ask(gradient: Any) -> None:
            if gradient.shape[1] > most:
                torch.empty(2**50)

        def hook(module: Any, given: Any, output: Any) -> None:
            if output.requires_grad:
                output.register_hook(ask)

        trainer.model.model.embed_tokens.register_forward_hook(hook)

    losses: list[float] = []
    gradients: list[dict[str, Any]] = []
    messages: list[str] = []
    for fails in (False, True):
        trainer = trainer_of(RenderedSFTTrainer, tiny_model, rows, tmp_path, max_steps=1, max_grad_norm=0.0)
        trainer.compute_shared_tokens_once(1000, messages.append)
        if fails:
            fails_above(trainer, 130)
        loss, gradient = step_of(trainer)
        losses.append(loss)
        gradients.append(gradient)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for name, gradient in gradients[0].items():
        assert (gradients[1][name] - gradient).norm() <= 1e-5 * gradient.norm(), name
    assert messages[-1] == "memory ran out; from here on at most 125 tokens go through the model at once"
