"""The model as it is trained: in the right number format, quantised, with an adapter, or whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

from ftsdk.backends.trainers.trl.adapters import give_wrapped_head_a_bias
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.saveable import make_saveable
from ftsdk.backends.trainers.trl.sharding.loading import gets_its_weights_later, model_without_weights
from ftsdk.models import check_stated_sizes, loading_errors
from ftsdk.spec import Model

__all__ = ["load_for_training", "quantized_as_loaded"]


def load_for_training(
    model: Model, folder: Path, request: TrainingRequest, *, on_message: Callable[[str], None]
) -> Any:
    """Load the weights for the requested tuning.

    Frozen weights are held in the dtype of the computation; weights that move are held in float32, since steps of a
    usual learning rate are smaller than what bfloat16 can add to a weight.

    Args:
        model: What is tuned.
        folder: Where its plain weights are.
        request: The training request.
        on_message: Called with one sentence for each thing that differs from the request or is repaired.

    Raises:
        ModelError: The weights or the adapter can't be loaded.
    """
    tuning = request.tuning
    compute = getattr(torch, request.dtype)
    options: dict[str, Any] = {
        "dtype": compute if tuning.adapts else torch.float32,
        "attn_implementation": _attention(model, folder, request, on_message),
        "use_safetensors": True,
        "trust_remote_code": model.trust_remote_code,
    }
    if tuning.quantizes:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=bool(tuning.double_quantization),
            bnb_4bit_compute_dtype=compute,
        )
        options["device_map"] = {"": _device(request)}
    check_stated_sizes(folder, shown=str(model), adapter=model.adapter)
    with loading_errors(f"{model} can't be loaded"):
        loaded: Any = (
            model_without_weights(folder, options)
            if gets_its_weights_later(request)
            else AutoModelForCausalLM.from_pretrained(folder, **options)
        )
    for sentence in make_saveable(loaded):
        on_message(sentence)
    loaded.config.use_cache = False
    if tuning.quantizes:
        if request.device == "cpu":
            _keep_4bit_weights_as_they_are(loaded)
        # Not peft's `prepare_model_for_kbit_training`, which turns embeddings, norms and head into float32, and with
        # them every activation: twice the memory, and half the speed on an H100. Norms compute in float32 by
        # themselves.
        loaded.requires_grad_(False)
    if model.adapter is not None:
        with loading_errors(f"the adapter {model.adapter} doesn't fit {model.id}", "Name the base it was trained on."):
            adapter = str(Path(model.adapter).expanduser())
            config: Any = PeftConfig.from_pretrained(adapter)
            config.lora_dropout = tuning.dropout or 0.0
            loaded = PeftModel.from_pretrained(
                loaded, adapter, is_trainable=tuning.adapts, config=config, use_safetensors=True
            )
            if not tuning.adapts:
                loaded = loaded.merge_and_unload()
        give_wrapped_head_a_bias(loaded)
    return loaded


@contextlib.contextmanager
def quantized_as_loaded(model: Any) -> Generator[None]:
    """Let TRL build a trainer around a model with 4-bit weights, and undo what it does to the others.

    SFT, DPO and KTO turn the adapters into bfloat16, where steps of a usual learning rate are smaller than what can be
    added to a weight; ORPO and SimPO turn embeddings, norms and head into float32 (TRL 1.16).
    """
    if not getattr(model, "is_loaded_in_4bit", False):
        yield
        return
    loaded = {id(weight): weight.data for weight in model.parameters()}
    yield
    for weight in model.parameters():
        was = loaded.get(id(weight))
        if was is None and weight.requires_grad:
            weight.data = weight.data.float()
        elif was is not None and was.dtype != weight.dtype:
            weight.data = was


def _attention(model: Model, folder: Path, request: TrainingRequest, on_message: Callable[[str], None]) -> str:
    """Return the planned attention, or `eager` where the model's class doesn't support it."""
    if request.attention != "sdpa":
        return request.attention
    with loading_errors(f"the config of {model} can't be loaded"):
        config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
    known: Any = getattr(AutoModelForCausalLM, "_model_mapping", {})  # transformers has no public way to ask
    has_sdpa = type(config) not in known or getattr(known[type(config)], "_supports_sdpa", True)
    if has_sdpa:
        return "sdpa"
    on_message(f"{config.model_type} has no fused attention in this version of transformers; eager attention is used")
    return "eager"


def _keep_4bit_weights_as_they_are(model: Any) -> None:
    """Switch off a shortcut of bitsandbytes on CPUs with avx512_bf16.

    The first forward pass in eval mode repacks 4-bit weights in place (0.50.2, `Linear4bit.forward`), which changes the
    base and fails for layers narrower than 64. After it, training goes through a kernel without autograd
    (`autograd/_functions.py`), so that a validation in the middle would silently cut off the gradients below.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _device(request: TrainingRequest) -> Any:
    if request.device == "cuda":
        return torch.cuda.current_device()
    return request.device
