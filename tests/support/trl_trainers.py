"""Trainers on a tiny model in this process, TRL's own and ours, with rows that have beginnings in common."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset as HfDataset
from peft import LoraConfig, PeftConfig
from transformers import AutoTokenizer, LlamaForCausalLM
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from ftsdk.backends.trainers.trl.rows import IGNORED, PadToLongest

__all__ = ["Columns", "TRLOnTokens", "dpo_trainer_of", "sft_trainer_of", "some_pairs", "some_rows", "step_of"]

_RECOMPUTES = next(name for name in ("activation_checkpointing", "gradient_checkpointing") if hasattr(SFTConfig, name))
"""transformers 5 renamed it."""
_SHARED: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "max_length": None,
    _RECOMPUTES: False,
}
Columns = dict[str, list[list[int]]]


class TRLOnTokens(DPOTrainer):
    """TRL's own trainer, but for the rendering."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


def some_rows() -> Columns:
    """Rows of which ten begin alike, and two don't."""
    draw = random.Random(1)
    start = [draw.randrange(100) for _ in range(18)]
    ids = [start + [draw.randrange(100) for _ in range(draw.randrange(2, 12))] for _ in range(10)]
    ids += [[draw.randrange(100) for _ in range(draw.randrange(5, 40))] for _ in range(2)]
    return {"input_ids": ids, "labels": [[IGNORED] * (len(row) // 2) + row[len(row) // 2 :] for row in ids]}


def some_pairs() -> Columns:
    """Two prompts with several answers each, one alone, a system prompt for all; answers that begin alike, too."""
    draw = random.Random(2)

    def tokens(count: int) -> list[int]:
        return [draw.randrange(100) for _ in range(count)]

    system, prompts, begun = tokens(15), [tokens(9), tokens(12)], tokens(10)
    found: Columns = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
    for n in range(8):
        found["prompt_ids"].append(system + prompts[n % 2] if n < 7 else tokens(20))
        found["chosen_ids"].append((begun if n % 3 == 0 else []) + tokens(draw.randrange(1, 14)))
        found["rejected_ids"].append((begun if n % 3 == 0 else []) + tokens(draw.randrange(1, 14)))
    return found


def sft_trainer_of(
    kind: type[SFTTrainer],
    tiny_model: Path,
    rows: Columns,
    into: Path,
    *,
    adapter: Callable[[Any], PeftConfig] | None = None,
    **options: Any,
) -> Any:
    """A trainer; `adapter` returns the configuration of an adapter for the loaded model."""
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM.from_pretrained(tiny_model, attn_implementation="sdpa")
    arguments = SFTConfig(
        output_dir=str(into),
        dataset_kwargs={"skip_prepare_dataset": True},
        loss_type="nll",
        **_SHARED,
        **{"per_device_train_batch_size": 12, **options},
    )
    return kind(
        model=model,
        peft_config=None if adapter is None else adapter(model),
        args=arguments,
        train_dataset=HfDataset.from_dict(dict(rows)),
        eval_dataset=HfDataset.from_dict(dict(rows)),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
        data_collator=PadToLongest(0),
    )


def dpo_trainer_of(
    kind: type[DPOTrainer], tiny_model: Path, pairs: Columns, into: Path, *, tuning: str, steps: int = 1
) -> Any:
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM.from_pretrained(tiny_model, attn_implementation="sdpa")
    arguments = DPOConfig(
        output_dir=str(into),
        **_SHARED,
        max_steps=steps,
        learning_rate=1e-2,
        max_grad_norm=0.0,
        per_device_train_batch_size=8,
        beta=0.3,
        loss_type=["sigmoid"],
    )
    adapter = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear") if tuning == "lora" else None
    trainer: Any = kind(
        model=model,
        ref_model=copy.deepcopy(model) if tuning == "full" else None,
        args=arguments,
        train_dataset=HfDataset.from_dict(dict(pairs)),
        eval_dataset=HfDataset.from_dict(dict(pairs)),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
        peft_config=adapter,
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
