"""A DPO step whose pairs are packed as a forest is TRL's own step on the same pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch
from trl_trainers import Columns, TRLOnTokens, dpo_trainer_of, some_pairs, step_of

from ftsdk.backends.trainers.trl.methods.dpo import RenderedDPOTrainer


@pytest.fixture
def pairs() -> Columns:
    return some_pairs()


@pytest.mark.parametrize(("tuning", "most_tokens"), [("lora", 1000), ("lora", 60), ("full", 60)])
def test_losses_and_gradients_are_those_of_trl(
    tiny_model: Path, tmp_path: Path, pairs: Columns, tuning: str, most_tokens: int
) -> None:
    loss, gradients = step_of(dpo_trainer_of(TRLOnTokens, tiny_model, pairs, tmp_path, tuning=tuning))
    trainer = dpo_trainer_of(RenderedDPOTrainer, tiny_model, pairs, tmp_path, tuning=tuning)
    messages: list[str] = []
    trainer.compute_shared_tokens_once(most_tokens, messages.append)
    our_loss, our_gradients = step_of(trainer)
    assert abs(loss - 0.693147) > 1e-3
    assert our_loss == pytest.approx(loss, rel=1e-5)
    assert our_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert (our_gradients[name] - gradient).norm() <= 1e-5 * gradient.norm(), name
    assert "computed once" in messages[0]


def test_bfloat16_costs_no_more_precision_than_with_trl(tiny_model: Path, tmp_path: Path, pairs: Columns) -> None:
    def gradient(kind: type[Any], dtype: torch.dtype) -> torch.Tensor:
        trainer = dpo_trainer_of(kind, tiny_model, pairs, tmp_path, tuning="lora")
        trainer.model.to(dtype)
        if kind is RenderedDPOTrainer:
            trainer.compute_shared_tokens_once(60, lambda _: None)
        _, found = step_of(trainer)
        return torch.cat([found[name].float().flatten() for name in sorted(found)])

    exact = gradient(TRLOnTokens, torch.float32)
    theirs, ours = ((gradient(kind, torch.bfloat16) - exact).norm() for kind in (TRLOnTokens, RenderedDPOTrainer))
    assert 0 < ours <= 1.5 * theirs < 0.2 * exact.norm()


def test_the_validation_is_that_of_padded_pairs(tiny_model: Path, tmp_path: Path, pairs: Columns) -> None:
    trainer = dpo_trainer_of(RenderedDPOTrainer, tiny_model, pairs, tmp_path, tuning="lora")
    trainer.train()
    padded = trainer.evaluate()
    trainer.compute_shared_tokens_once(60, lambda _: None)
    packed = trainer.evaluate()
    assert packed["eval_loss"] != pytest.approx(0.693147, abs=1e-3)
    for name in ("eval_loss", "eval_rewards/accuracies", "eval_rewards/margins"):
        assert packed[name] == pytest.approx(padded[name], rel=1e-4, abs=1e-5), name


def test_a_pair_goes_through_its_reference_once(tiny_model: Path, tmp_path: Path, pairs: Columns) -> None:
    trainer = dpo_trainer_of(RenderedDPOTrainer, tiny_model, pairs, tmp_path, tuning="full", steps=3)
    trainer.compute_shared_tokens_once(1000, lambda _: None)
    passes: list[int] = []

    def count(module: Any, given: Any, options: Any, output: Any) -> None:
        passes.append(options["input_ids"].shape[1])

    trainer.ref_model.register_forward_hook(count, with_kwargs=True)
    trainer.train()
    trainer.evaluate()
    # A trial of three tokens, which finds out whether the head's products can be made in chunks, and all pairs.
    assert len(passes) == 2
    assert min(passes) == 3
