"""The training, with every option of TRL set explicitly, so that a new version's defaults don't change a run."""

from __future__ import annotations

import logging
import math
import os
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import EarlyStoppingCallback, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from ftsdk.backends.hosted.checkpoints import CHECKPOINTS
from ftsdk.backends.hosted.trainer import Context, TrainingResult, TrainingStopped
from ftsdk.backends.trainers.trl.adapter_dropout import keep_dropout_of_adapter
from ftsdk.backends.trainers.trl.adapter_products import quick_adapters
from ftsdk.backends.trainers.trl.adapter_starts import KeepsStart, begin_at_weights
from ftsdk.backends.trainers.trl.adapters import adapter_config, begin_at_text, give_wrapped_head_a_bias
from ftsdk.backends.trainers.trl.base_reference import base_reference, write_card
from ftsdk.backends.trainers.trl.callbacks import ComputedTokens, RunCallback
from ftsdk.backends.trainers.trl.load import load_for_training, quantized_as_loaded
from ftsdk.backends.trainers.trl.methods import load_method
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import was_over
from ftsdk.backends.trainers.trl.rows import Rows, read_rows, shared_tokens
from ftsdk.backends.trainers.trl.sharding.model import Share
from ftsdk.backends.trainers.trl.sharding.options import for_processes, sharding_options, start_sharding
from ftsdk.backends.trainers.trl.sharding.saving import (
    save_gathered_model,
    sharding_facts,
    shares_text,
    weights_of_shards,
)
from ftsdk.backends.trainers.trl.translate import recomputes, steps_per_epoch
from ftsdk.errors import Diagnosis
from ftsdk.models import (
    added_token_ids,
    base_name,
    has_unlisted_embeddings,
    load_tokenizer,
    materialize,
    rendering_options,
)
from ftsdk.protocol import LogEvent

__all__ = ["train"]

_OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
}
"""By our names, those of transformers."""


def train(request: TrainingRequest, context: Context, into: Path) -> TrainingResult:
    """Train as requested.

    Raises:
        Cancelled: The run was cancelled.
        TrainingStopped: The training can't continue, for the reason in the diagnosis.
        DatasetError: The rows don't fit the model.
    """
    _check_device(request)
    transformers.utils.logging.disable_progress_bar()
    request = for_processes(request)
    start_sharding(request)
    model_spec = request.model
    folder = materialize(model_spec, on_message=lambda text: context.emit(LogEvent(message=text)))
    tokenizer = load_tokenizer(model_spec)

    def say(text: str) -> None:
        context.emit(LogEvent(message=text))

    rendering: dict[str, Any] = {
        "method": request.method,
        "max_truncated": request.max_truncated,
        "shared": shared_tokens(),
        "is_alone": int(os.environ.get("WORLD_SIZE", "1")) == 1,
        "on_message": say,
        **rendering_options(model_spec, tokenizer, max_length=request.max_length),
    }
    data = context.folder / "data"
    rows = read_rows(data / "train.arrow", tokenizer, fingerprint=request.train, **rendering)
    for sentence in rows.report.notes:
        context.emit(LogEvent(level="warning", message=f"training data: {sentence}"))
    validation = None
    if request.validation:
        validation = read_rows(data / "validation.arrow", tokenizer, fingerprint=request.validation, **rendering)

    set_seed(request.seed)
    model = load_for_training(model_spec, folder, request, on_message=lambda text: context.emit(LogEvent(message=text)))
    new_rows = () if model_spec.add_tokens is None else added_token_ids(folder)
    trainer = _make_trainer(request, context, model, tokenizer, rows, validation, added_tokens=new_rows)
    computed = ComputedTokens(trainer.model)
    callback = RunCallback(context, is_loss_scaled=request.dtype == "float16", computed=computed)
    # These write to the terminal, which is a log file here; the events have the same data.
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(callback)

    def on_shares(shares: tuple[Share, ...]) -> None:
        context.emit(LogEvent(message=shares_text(shares)))

    trainer.on_shares = on_shares
    trainer.is_over = context.resume_from is not None and was_over(context.resume_from)
    # Products that are made together don't go through the layers in which gradients of single rows are found.
    with quick_adapters(trainer) if request.privacy is None else nullcontext():
        result = trainer.train(resume_from_checkpoint=str(context.resume_from) if context.resume_from else None)
    gathered = weights_of_shards(trainer, request, is_main=context.is_main)
    if context.is_main:
        _save(trainer, tokenizer, request, folder, into, gathered)
    info: dict[str, Any] = {
        "steps": trainer.state.global_step,
        "train_loss": result.training_loss,
        "validation": callback.last_metrics,
        "best_step": trainer.state.best_global_step if request.early_stopping else None,
        **sharding_facts(trainer),
        "data": rows.report.to_dict(),
        "versions": {name: version(name) for name in ("ftsdk", "torch", "transformers", "trl", "peft")},
    }
    if request.privacy is not None:
        # What else was counted says something of single rows, and the manifest goes where the weights go.
        info |= {"train_loss": None, "validation": {}, "data": {"rows": rows.report.rows}}
        info["privacy"] = trainer.private_facts()
        info["versions"]["opacus"] = version("opacus")
    return TrainingResult(kind="adapter" if request.tuning.adapts else "model", base=base_name(model_spec), info=info)


def _make_trainer(
    request: TrainingRequest,
    context: Context,
    model: Any,
    tokenizer: Any,
    rows: Rows,
    validation: Rows | None,
    *,
    added_tokens: tuple[int, ...] = (),
) -> Any:
    shared: dict[str, Any] = {
        "model": model,
        "train_dataset": rows.dataset,
        "eval_dataset": validation.dataset if validation else None,
        "processing_class": tokenizer,
        "callbacks": _early_stopping(request),
    }
    is_new_adapter = request.tuning.adapts and not request.model.adapter
    if is_new_adapter:
        shared["peft_config"] = adapter_config(request, model, added_tokens=added_tokens)
    options = _arguments(request, context, sequences=len(rows.dataset), has_validation=validation is not None)
    with quantized_as_loaded(model):
        trainer = load_method(request.method.kind).make_trainer(
            request,
            shared,
            options,
            pad_token_id=tokenizer.pad_token_id,
            on_message=lambda text: context.emit(LogEvent(message=text)),
        )
    if request.tuning.adapts:
        _finish_adapter(request, trainer, tokenizer, is_new=is_new_adapter)
    return trainer


def _finish_adapter(request: TrainingRequest, trainer: Any, tokenizer: Any, *, is_new: bool) -> None:
    """Set what TRL and peft leave open once the adapter is on the model."""
    tuned = trainer.model
    if request.method.compares_answers:
        keep_dropout_of_adapter(tuned)
    if request.tuning.virtual_tokens is not None:
        begin_at_text(tuned, tokenizer, request)
        return
    give_wrapped_head_a_bias(tuned)
    if is_new and request.tuning.init != "random":
        begin_at_weights(tuned, request.tuning)
        trainer.add_callback(KeepsStart(tuned))


def _arguments(request: TrainingRequest, context: Context, *, sequences: int, has_validation: bool) -> dict[str, Any]:
    """Return the options that all methods share."""
    device, dtype, is_full = request.device, request.dtype, not request.tuning.adapts
    is_distributed = int(os.environ.get("WORLD_SIZE", "1")) > 1
    warmup = request.warmup_ratio
    keeps_best = request.early_stopping is not None
    return {
        "output_dir": str(context.folder / CHECKPOINTS),
        "num_train_epochs": request.epochs,
        "max_steps": _max_steps(request, sequences),
        "per_device_train_batch_size": request.micro_batch_size,
        "per_device_eval_batch_size": request.micro_batch_size,
        "gradient_accumulation_steps": request.accumulation_steps,
        "learning_rate": request.learning_rate,
        "lr_scheduler_type": {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}[
            request.schedule
        ],
        # A float below 1 is a share of all steps (transformers 5 has no warmup_ratio).
        "warmup_steps": warmup,
        "weight_decay": request.weight_decay,
        "max_grad_norm": request.max_grad_norm,
        "optim": _OPTIMIZERS[request.optimizer],
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "seed": request.seed,
        "data_seed": request.seed,
        "train_sampling_strategy": "random",
        # Frozen weights are in the compute dtype already; weights that move are in float32 and need autocast. On a CPU
        # the products of an adapter are too small for that to pay, unless rows are packed (see `methods/sft.py`).
        "bf16": dtype == "bfloat16" and (is_full or device == "cuda"),
        "fp16": dtype == "float16",
        # Activations are stored on a CPU, where memory is plenty, and computed again on a GPU, where it isn't.
        **_activation_checkpointing(on=recomputes(request.tuning.kind, device)),
        "use_cpu": device == "cpu",
        "ddp_backend": ("nccl" if device == "cuda" else "gloo") if is_distributed else None,
        "ddp_find_unused_parameters": False if is_distributed else None,
        "average_tokens_across_devices": True,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": device == "cuda",
        "dataloader_drop_last": False,
        "max_length": None,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_first_step": False,
        # The filter would replace a NaN by the mean of the steps before.
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        "eval_strategy": "steps" if has_validation else "no",
        "eval_steps": request.eval_steps,
        "prediction_loss_only": True,
        "save_strategy": "steps",
        "save_steps": request.checkpoint_steps,
        # Old checkpoints are removed by ours, which knows which of them are whole.
        "save_total_limit": None,
        "load_best_model_at_end": keeps_best,
        "metric_for_best_model": "eval_loss" if keeps_best else None,
        "greater_is_better": False if keeps_best else None,
        "restore_callback_states_from_checkpoint": True,
        "report_to": "none",
        "disable_tqdm": True,
        "push_to_hub": False,
        "torch_compile": False,
        "use_liger_kernel": False,
        **sharding_options(request),
    }


def _activation_checkpointing(*, on: bool) -> dict[str, Any]:
    """Return the option under the name that this version of transformers has: 5.x renamed it."""
    from dataclasses import fields

    from transformers import TrainingArguments

    known = {field.name for field in fields(TrainingArguments)}
    name = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    return {name: on, f"{name}_kwargs": {"use_reentrant": False} if on else None}


def _max_steps(request: TrainingRequest, sequences: int) -> int:
    """Return transformers' `max_steps`: -1 if only `epochs` is set, else whichever ends first.

    Sequences are counted once they are rendered: the plan may have rendered a sample, or none.
    """
    if request.max_steps is None:
        return -1
    steps = math.ceil(steps_per_epoch(sequences, request.batch_size) * request.epochs)
    return min(request.max_steps, max(1, steps))


def _early_stopping(request: TrainingRequest) -> list[Any]:
    stopping = request.early_stopping
    if stopping is None:
        return []
    return [
        EarlyStoppingCallback(early_stopping_patience=stopping.patience, early_stopping_threshold=stopping.min_delta)
    ]


def _save(
    trainer: Any,
    tokenizer: Any,
    request: TrainingRequest,
    folder: Path,
    into: Path,
    gathered: dict[str, torch.Tensor] | None,
) -> None:
    """Write safetensors, tokenizer and chat template; an adapter's config also names its base.

    `gathered` has the weights of a sharded model.
    """
    into.mkdir(parents=True, exist_ok=True)
    tuned, model = trainer.accelerator.unwrap_model(trainer.model), request.model
    if not request.tuning.adapts:
        tuned.config.use_cache = True
        if gathered is not None:
            save_gathered_model(tuned, gathered, into)
        else:
            tuned.to(getattr(torch, request.dtype)).save_pretrained(into)
    else:
        base = base_reference(request, folder)
        for config in tuned.peft_config.values():
            config.base_model_name_or_path = base
            config.revision = model.revision if model.source == "hub" else None  # peft's word for that of the base
        # "auto" would ask the hub whether the vocabulary has grown. An adapter that came with embeddings keeps them;
        # peft saves those by itself that the config lists.
        keeps_embeddings = model.adapter is not None and has_unlisted_embeddings(model.adapter)
        # DPO on an existing adapter adds a second one, "ref", which isn't needed afterwards.
        tuned.save_pretrained(
            into, state_dict=gathered, save_embedding_layers=keeps_embeddings, selected_adapters=["default"]
        )
        write_card(into, model, base)
    tokenizer.save_pretrained(into)


def _check_device(request: TrainingRequest) -> None:
    """Raise `TrainingStopped` if this machine lacks the planned device."""
    device = request.device
    is_there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}[device]()
    if not is_there:
        raise TrainingStopped(
            Diagnosis(
                "device",
                f"the plan needs {device}, but this PyTorch ({torch.__version__}) can't use it",
                None,
                (
                    "install a PyTorch build for this device (https://pytorch.org/get-started)",
                    'or choose the CPU: backend=Local(device="cpu")',
                ),
            )
        )
    logging.getLogger(__name__).info("training on %s", device)
