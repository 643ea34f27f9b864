"""Ours and TRL's own trainers at several settings, as `bench_training.py` runs them."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from small_model import smollm2
from training_workloads import rendered_columns

__all__ = ["BATCH", "Result", "Setting", "Ways", "measured_ceiling", "ways_of"]

BATCH = 16
"""Rows of an optimizer step."""
PACKED_TOKENS = 1024
"""As plans have it on a CPU."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is trained."""

    dtype: str
    tuning: str = "lora"
    """`lora` or `full`."""
    rank: int = 16
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    batch: int = BATCH
    learning_rate: float = 2e-4


@dataclass
class Result:
    """What a run was measured at."""

    wall_s: float
    """Of one row."""
    cpu_s: float
    tokens: float
    """Tokens that went through the layers, of one row, padding included; forward and backward pass count as one."""
    operations: float
    """Multiplications and additions of the layers' products, of one row."""
    losses: list[float] = field(default_factory=list[float])
    validation: float | None = None
    notes: list[str] = field(default_factory=list[str])


def ways_of(workload: str, *, is_small: bool = False) -> list[str]:
    """Return the ways to train: ours, and TRL at the settings that a user would try."""
    if is_small:
        return ["ours", "TRL, 8 at once"]
    padded = [f"TRL, {n} at once" for n in (4, 8, 16)]
    # TRL 1.16 switches packing and padding-free batches off for DPO.
    return ["ours", *padded] if workload == "dpo" else ["ours", *padded, "TRL, packing", "TRL, packing, autocast"]


def measured_ceiling(dtype: str, *, seconds: float = 1.0) -> float:
    """Return the operations per second of a large product in this process's threads."""
    import torch

    a, b = (torch.randn(1024, 1024).to(getattr(torch, dtype)) for _ in range(2))
    best = 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(4):
            torch.matmul(a, b)
        best = max(best, 4 * 2 * 1024**3 / (time.perf_counter() - start))
    return best


class Ways:
    """Each way trains by a fresh trainer, on the same rows."""

    def __init__(
        self,
        workload: str,
        rows: list[Any],
        setting: Setting,
        scratch: Path,
        *,
        validation: list[Any] | None = None,
        model: Path | None = None,
    ) -> None:
        from ftsdk.models import load_tokenizer, materialize
        from ftsdk.spec import Model

        spec = Model(id=str(model) if model is not None else smollm2())
        self.folder, self.tokenizer = materialize(spec), load_tokenizer(spec)
        self.workload, self.setting, self.scratch = workload, setting, scratch
        self.columns = rendered_columns(workload, rows, self.tokenizer)
        self.validation = None if validation is None else rendered_columns(workload, validation, self.tokenizer)
        if workload == "dpo":
            sides = [(a, b) for a, b in zip(self.columns["chosen_ids"], self.columns["rejected_ids"], strict=True)]
            prompts = [len(ids) for ids in self.columns["prompt_ids"]]
            self.tokens = sum(2 * n + len(a) + len(b) for n, (a, b) in zip(prompts, sides, strict=True)) / len(sides)
            self.trained = sum(len(a) + len(b) for a, b in sides) / len(sides)
        else:
            lengths = [len(ids) for ids in self.columns["input_ids"]]
            self.tokens = sum(lengths) / len(lengths)
            self.trained = sum(n != -100 for labels in self.columns["labels"] for n in labels) / len(lengths)

    def run(self, way: str, *, steps: int, seed: int = 0) -> Result:
        """Train, and return what a row took. The first step warms up."""
        import torch
        from transformers import TrainerCallback
        from transformers.trainer_callback import PrinterCallback

        from ftsdk.backends.trainers.trl.adapter_products import quick_adapters

        notes: list[str] = []
        trainer = self._trainer(way, steps, seed, notes)
        passed = {"tokens": 0.0, "operations": 0.0}
        inner = trainer.model.get_base_model() if hasattr(trainer.model, "get_base_model") else trainer.model
        # Without the head: who projects which positions is a part of what is compared.
        layers = sum(w.numel() for name, w in inner.named_parameters() if w.dim() == 2 and ".layers." in name)

        def count(module: Any, given: Any, output: Any) -> None:
            del module, output
            tokens, has_gradient = given[0].numel(), torch.is_grad_enabled()
            passed["tokens"] += tokens if has_gradient else 0
            both = 4 if self.setting.tuning == "lora" else 6
            passed["operations"] += tokens * layers * (both if has_gradient else 2)

        inner.get_input_embeddings().register_forward_hook(count)
        marks: list[tuple[float, float, float, float, float]] = []

        class Marks(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
                del args, control, others
                seen, times = state.num_input_tokens_seen, (time.perf_counter(), time.process_time())
                marks.append((*times, seen, passed["tokens"], passed["operations"]))

        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Marks())
        with quick_adapters(trainer) if way == "ours" else nullcontext():
            trainer.train()
            validation = None if self.validation is None else trainer.evaluate()["eval_loss"]
        first, last = marks[0], marks[-1]
        # Packed sequences hold any number of rows.
        rows = (last[2] - first[2]) / self.tokens
        return Result(
            *((end - begin) / rows for begin, end in zip(first[:2], last[:2], strict=True)),
            *((end - begin) / rows for begin, end in zip(first[3:], last[3:], strict=True)),
            losses=[entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
            validation=validation,
            notes=notes,
        )

    def _trainer(self, way: str, steps: int, seed: int, notes: list[str]) -> Any:
        import torch
        from datasets import Dataset
        from peft import LoraConfig
        from transformers import AutoModelForCausalLM

        torch.manual_seed(seed)
        setting = self.setting
        is_full = setting.tuning == "full"
        dtype = torch.float32 if is_full else getattr(torch, setting.dtype)
        model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=dtype, attn_implementation="sdpa")
        columns: dict[str, Any] = dict(self.columns)
        options = self._options(way, steps, seed, columns)
        shared: dict[str, Any] = {
            "model": model,
            "train_dataset": Dataset.from_dict(columns),
            "eval_dataset": None if self.validation is None else Dataset.from_dict(dict(self.validation)),
            "processing_class": self.tokenizer,
        }
        if not is_full:
            shared["peft_config"] = LoraConfig(
                task_type="CAUSAL_LM",
                r=setting.rank,
                lora_alpha=2 * setting.rank,
                lora_dropout=setting.dropout,
                target_modules=setting.targets if isinstance(setting.targets, str) else list(setting.targets),
            )
        trainer = (self._dpo_trainer if self.workload == "dpo" else self._sft_trainer)(way, shared, options)
        if way == "ours":
            trainer.compute_shared_tokens_once(PACKED_TOKENS, notes.append)
        return trainer

    def _options(self, way: str, steps: int, seed: int, columns: dict[str, Any]) -> dict[str, Any]:
        from trl.trainer.sft_config import SFTConfig

        batch, is_bfloat16 = self.setting.batch, self.setting.dtype == "bfloat16"
        at_once = batch if way == "ours" else 1 if "packing" in way else min(batch, int(way.split()[1]))
        known = SFTConfig.__dataclass_fields__
        recomputes = next(n for n in ("activation_checkpointing", "gradient_checkpointing") if n in known)
        options: dict[str, Any] = {
            "output_dir": str(self.scratch / "out"),
            "max_steps": steps,
            "per_device_train_batch_size": at_once,
            "per_device_eval_batch_size": 32 if way == "ours" else 8,
            "gradient_accumulation_steps": batch // at_once,
            "learning_rate": self.setting.learning_rate,
            "lr_scheduler_type": "constant",
            "use_cpu": True,
            # As plans have it for packed rows; TRL is tried with it and without.
            "bf16": is_bfloat16 and (way == "ours" or "autocast" in way or self.setting.tuning == "full"),
            "logging_steps": 1,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
            "seed": seed,
            "data_seed": seed,
            "include_num_input_tokens_seen": "non_padding",
            "max_length": None,
            recomputes: False,
        }
        if "packing" in way:
            # Sequences of as many tokens as four padded rows have; as many of them as make a step's rows.
            length = int(4 * max(len(ids) for ids in columns["input_ids"]))
            masks = [[int(label != -100) for label in labels] for labels in columns.pop("labels")]
            columns["completion_mask"] = masks
            accumulated = max(1, round(batch * self.tokens / length))
            options |= {"packing": True, "max_length": length, "gradient_accumulation_steps": accumulated}
        return options

    def _sft_trainer(self, way: str, shared: dict[str, Any], options: dict[str, Any]) -> Any:
        from trl.trainer.sft_config import SFTConfig
        from trl.trainer.sft_trainer import SFTTrainer

        from ftsdk.backends.trainers.trl.methods.sft import RenderedSFTTrainer
        from ftsdk.backends.trainers.trl.rows import PadToLongest

        if "packing" not in way:
            shared["data_collator"] = PadToLongest(self.tokenizer.pad_token_id or 0)
            options["dataset_kwargs"] = {"skip_prepare_dataset": True}
        kind = RenderedSFTTrainer if way.startswith("ours") else SFTTrainer
        return kind(**shared, args=SFTConfig(**options, loss_type="nll"))

    def _dpo_trainer(self, way: str, shared: dict[str, Any], options: dict[str, Any]) -> Any:
        import copy

        from trl.trainer.dpo_config import DPOConfig
        from trl.trainer.dpo_trainer import DPOTrainer

        from ftsdk.backends.trainers.trl.methods.dpo import RenderedDPOTrainer

        class OnTokens(DPOTrainer):
            """TRL's own trainer, but for the rendering: rows are token ids already."""

            def _prepare_dataset(self, dataset: Any, *arguments: Any, **others: Any) -> Any:
                del arguments, others
                return dataset

        reference = copy.deepcopy(shared["model"]) if self.setting.tuning == "full" else None
        kind = RenderedDPOTrainer if way.startswith("ours") else OnTokens
        return kind(**shared, ref_model=reference, args=DPOConfig(**options, beta=0.1, loss_type=["sigmoid"]))
