"""The model as it is trained: in the right number format, quantised, with an adapter, or whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from ftsdk.spec import Model

__all__ = ["load_for_training", "lora_config"]


def load_for_training(model: Model, folder: Path, request: Mapping[str, Any]) -> Any:
    """Load the weights as the request says.

    Frozen weights are held in the dtype of the computation; weights that move are held in float32, since steps of a usual
    learning rate are smaller than what bfloat16 can add to a weight.

    Args:
        model: What is tuned.
        folder: Where its plain weights are.
        request: The training request.
    """
    tuning = request["tuning"]["kind"]
    compute = getattr(torch, request["dtype"])
    options: dict[str, Any] = {
        "dtype": torch.float32 if tuning == "full" else compute,
        "attn_implementation": request["attention"],
        "use_safetensors": True,
        "trust_remote_code": model.trust_remote_code,
    }
    if tuning == "qlora":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=request["tuning"]["double_quantization"],
            bnb_4bit_compute_dtype=compute,
        )
        options["device_map"] = {"": _device(request)}
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    loaded.config.use_cache = False
    if tuning == "qlora":
        if request["device"] == "cpu":
            _keep_4bit_weights_as_they_are(loaded)
        # Not peft's `prepare_model_for_kbit_training`, which turns embeddings, norms and head into float32, and with them every
        # activation: twice the memory, and half the speed on an H100. Norms compute in float32 by themselves.
        loaded.requires_grad_(False)
    if model.adapter is not None:
        config: Any = PeftConfig.from_pretrained(model.adapter)
        config.lora_dropout = request["tuning"].get("dropout", 0.0)
        loaded = PeftModel.from_pretrained(loaded, model.adapter, is_trainable=tuning != "full", config=config, use_safetensors=True)
        if tuning == "full":
            loaded = loaded.merge_and_unload()
    return loaded


def _keep_4bit_weights_as_they_are(model: Any) -> None:
    """Switch off a shortcut of bitsandbytes on CPUs with avx512_bf16.

    The first forward pass in eval mode repacks 4-bit weights in place (0.50.2, `Linear4bit.forward`), which changes the base
    and fails for layers narrower than 64. After it, training goes through a kernel without autograd
    (`autograd/_functions.py`), so that a validation in the middle would silently cut off the gradients below.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def lora_config(request: Mapping[str, Any]) -> LoraConfig:
    """Give peft's configuration for the request's tuning."""
    tuning = request["tuning"]
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=tuning["rank"],
        lora_alpha=tuning["alpha"],
        lora_dropout=tuning["dropout"],
        target_modules=tuning["target_modules"],
        use_dora=tuning["dora"],
        bias="none",
    )


def _device(request: Mapping[str, Any]) -> Any:
    if request["device"] == "cuda":
        return torch.cuda.current_device()
    return request["device"]
