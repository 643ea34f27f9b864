"""A step whose rows are packed as a forest is TRL's own step on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch
from trl.trainer.sft_trainer import SFTTrainer
from trl_trainers import Columns, sft_trainer_of, some_rows, step_of

from ftsdk.backends.trainers.trl.methods.sft import RenderedSFTTrainer


@pytest.fixture
def rows() -> Columns:
    return some_rows()


@pytest.mark.parametrize("most_tokens", [1000, 60])
def test_loss_and_gradients_are_those_of_trl(tiny_model: Path, tmp_path: Path, rows: Columns, most_tokens: int) -> None:
    options = {"max_steps": 1, "max_grad_norm": 0.0}
    loss, gradients = step_of(sft_trainer_of(SFTTrainer, tiny_model, rows, tmp_path, **options))
    messages: list[str] = []
    ours = sft_trainer_of(RenderedSFTTrainer, tiny_model, rows, tmp_path, **options)
    ours.compute_shared_tokens_once(most_tokens, messages.append)
    our_loss, our_gradients = step_of(ours)
    assert our_loss == pytest.approx(loss, rel=1e-5)
    assert our_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert (our_gradients[name] - gradient).norm() <= 1e-5 * gradient.norm(), name
    assert "computed once" in messages[0]


def test_the_validation_is_that_of_padded_rows(tiny_model: Path, tmp_path: Path, rows: Columns) -> None:
    trainer = sft_trainer_of(RenderedSFTTrainer, tiny_model, rows, tmp_path)
    padded = trainer.evaluate()["eval_loss"]
    trainer.compute_shared_tokens_once(60, lambda _: None)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(padded, rel=1e-5)


def test_memory_that_runs_out_makes_pieces_smaller_and_the_step_the_same(
    tiny_model: Path, tmp_path: Path, rows: Columns
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
        trainer = sft_trainer_of(RenderedSFTTrainer, tiny_model, rows, tmp_path, max_steps=1, max_grad_norm=0.0)
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
