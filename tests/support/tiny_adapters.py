"""LoRA adapters of the tiny model with random weights that change every answer; written without PEFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["write_adapter"]


def write_adapter(model: Path, into: Path, *, seed: int, rank: int = 4, config: dict[str, Any] | None = None) -> Path:
    """Write an adapter of a folder with a Llama, large enough to be seen in each answer."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    modules = ["q_proj", "v_proj", "down_proj"]
    chance = np.random.default_rng(seed)
    tensors: dict[str, Any] = {}
    for name, weight in load_file(model / "model.safetensors").items():
        parts = name.split(".")
        if parts[-2] in modules:
            rows, columns = weight.shape
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{stem}.lora_A.weight"] = chance.normal(0, 0.3, (rank, columns)).astype("float32")
            tensors[f"{stem}.lora_B.weight"] = chance.normal(0, 0.3, (rows, rank)).astype("float32")
    into.mkdir(parents=True, exist_ok=True)
    save_file(tensors, into / "adapter_model.safetensors", metadata={"format": "pt"})
    fields = {"peft_type": "LORA", "r": rank, "lora_alpha": 8 * rank, "target_modules": modules, "bias": "none"}
    text = json.dumps({**fields, "base_model_name_or_path": str(model), "task_type": "CAUSAL_LM", **(config or {})})
    (into / "adapter_config.json").write_text(text)
    return into
