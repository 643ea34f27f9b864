"""A DPO step whose pairs are packed as a forest is TRL's own step on the same pairs."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch
from datasets import Dataset as HfDataset
from peft import LoraConfig
from transformers import AutoTokenizer, LlamaForCausalLM
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from ftsdk.backends.trainers.trl.methods.dpo import RenderedDPOTrainer

_RECOMPUTES = next(name for name in ("activation_checkpointing", "gradient_checkpointing") if hasattr(DPOConfig, name))
"""transformers 5 renamed it."""
Pairs = dict[str, list[list[int]]]


class TRLOnTokens(DPOTrainer):
    """TRL's own trainer, but for the rendering."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


@pytest.fixture
def pairs() -> Pairs:
    """Two prompts with several answers each, one alone, a system prompt for all; answers that begin alike, too."""
    draw = random.Random(2)

    def tokens(count: int) -> list[int]:
        return [draw.randrange(100) for _ in range(count)]

    system, prompts, begun = tokens(15), [tokens(9), tokens(12)], tokens(10)
    found: Pairs = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
    for n in range(8):
        found["prompt_ids"].append(system + prompts[n % 2] if n < 7 else tokens(20))
        found["chosen_ids"].append((begun if n % 3 == 0 else []) + tokens(draw.randrange(1, 14)))
        found["rejected_ids"].append((begun if n % 3 == 0 else []) + tokens(draw.randrange(1, 14)))
    return found


def trainer_of(
    kind: type[DPOTrainer], tiny_model: Path, pairs: Pairs, into: Path, *, tuning: str, steps: int = 1
) -> Any:
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM.from_pretrained(tiny_model, attn_implementation="sdpa")
    arguments = DPOConfig(
        output_dir=str(into),
        use_cpu=True,
        bf16=False,
        report_to="none",
        **{_RECOMPUTES: False},
        max_length=None,
        max_steps=steps,
        learning_rate=1e-2,
        max_grad_norm=0.0,
        per_device_train_batch_size=8,
        beta=0.3,
        loss_type=["sigmoid"],
    )
    adapter = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    trainer: Any = kind(
        model=model,
        ref_model=copy.deepcopy(model) if tuning == "full" else None,
        args=arguments,
        train_dataset=HfDataset.from_dict(dict(pairs)),
        eval_dataset=HfDataset.from_dict(dict(pairs)),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
        **({"peft_config": adapter} if tuning == "lora" else {}),
    )
    with torch.no_grad():
        # A model that has moved away from its reference.
        for weight in trainer.model.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn_like(weight)
    return trainer


def step_of(trainer: Any) -> tuple[float, dict[str, Any]]:
    """The loss and the gradients of one optimizer step."""
    found: dict[str, Any] = {}

    class Look(type(trainer.callback_handler.callbacks[0])):
        def on_pre_optimizer_step(self, *arguments: Any, model: Any, **others: Any) -> None:
            found.update((n, w.grad.clone()) for n, w in model.named_parameters() if w.grad is not None)

    trainer.callback_handler.callbacks.insert(0, Look())
    return trainer.train().training_loss, found


@pytest.mark.parametrize(("tuning", "most_tokens"), [("lora", 1000), ("lora", 60), ("full", 60)])
def test_losses_and_gradients_are_those_of_trl(
    tiny_model: Path, tmp_path: Path, pairs: Pairs, tuning: str, most_tokens: int
) -> None:
    loss, gradients = step_of(trainer_of(TRLOnTokens, tiny_model, pairs, tmp_path, tuning=tuning))
    trainer = trainer_of(RenderedDPOTrainer, tiny_model, pairs, tmp_path, tuning=tuning)
    messages: list[str] = []
    trainer.compute_shared_tokens_once(most_tokens, messages.append)
    our_loss, our_gradients = step_of(trainer)
    assert abs(loss - 0.693147) > 1e-3
    assert our_loss == pytest.approx(loss, rel=1e-5)
    assert our_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert (our_gradients[name] - gradient).norm() <= 1e-5 * gradient.norm(), name
    assert "computed once" in messages[0]


def test_the_validation_is_that_of_padded_pairs(tiny_model: Path, tmp_path: Path, pairs: Pairs) -> None:
    trainer = trainer_of(RenderedDPOTrainer, tiny_model, pairs, tmp_path, tuning="lora")
    trainer.train()
    padded = trainer.evaluate()
    trainer.compute_shared_tokens_once(60, lambda _: None)
    packed = trainer.evaluate()
    assert packed["eval_loss"] != pytest.approx(0.693147, abs=1e-3)
    for name in ("eval_loss", "eval_rewards/accuracies", "eval_rewards/margins"):
        assert packed[name] == pytest.approx(padded[name], rel=1e-4, abs=1e-5), name


def test_a_pair_goes_through_its_reference_once(tiny_model: Path, tmp_path: Path, pairs: Pairs) -> None:
    trainer = trainer_of(RenderedDPOTrainer, tiny_model, pairs, tmp_path, tuning="full", steps=3)
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
