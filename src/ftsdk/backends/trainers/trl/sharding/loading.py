"""A model without weights, for the processes that get their shares from another one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import AutoConfig, AutoModelForCausalLM

from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.sharding.options import is_sharded

__all__ = ["gets_its_weights_later", "model_without_weights"]


def gets_its_weights_later(request: TrainingRequest) -> bool:
    """Return whether this process needs no weights: of a sharded training, the first process sends all of them.

    So the host's memory holds them once. That is what accelerate's `cpu_ram_efficient_loading` is for, but transformers
    5.23 loads them in every process nonetheless.
    """
    return is_sharded(request) and int(os.environ["RANK"]) != 0


def model_without_weights(folder: Path, options: Mapping[str, Any]) -> Any:
    """Build a model whose parameters take no memory before they are written; its buffers, which aren't sent, are there.

    They aren't on PyTorch's device `meta`: accelerate (1.15, `_prepare_fsdp2`) tells them apart by their addresses.

    Args:
        folder: The model's.
        options: Those of `from_pretrained`.
    """
    is_trusted = options["trust_remote_code"]
    config = AutoConfig.from_pretrained(folder, trust_remote_code=is_trusted)
    with init_empty_weights(include_buffers=False):
        model: Any = AutoModelForCausalLM.from_config(
            config,
            dtype=options["dtype"],
            attn_implementation=options["attn_implementation"],
            trust_remote_code=is_trusted,
        )
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            setattr(module, name, torch.nn.Parameter(torch.empty_like(weight, device="cpu"), weight.requires_grad))
    model.tie_weights()
    return model
