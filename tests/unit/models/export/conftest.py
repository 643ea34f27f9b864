"""A tiny model whose adapter changes its answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Model

MakeAdapter = Callable[..., Model]


@pytest.fixture(scope="session")
def tiny_export_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose layers are wide enough for blocks of 32."""
    pytest.importorskip("torch", reason="the extra 'local' isn't installed")
    from ftsdk.testing.tiny import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("export-base"), hidden_size=64)


@pytest.fixture
def make_adapter(tiny_export_model: Path, tmp_path: Path) -> MakeAdapter:
    """Return a function that makes a model with an adapter of PEFT's, its weights drawn at random."""

    def make(base: Path | None = None, *, size: float = 0.2, **options: Any) -> Model:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        from ftsdk.models.torch_stack import quiet_transformers

        chosen = base or tiny_export_model
        folder = tmp_path / f"adapter-{len(list(tmp_path.glob('adapter-*')))}"
        settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **options}
        with quiet_transformers(), torch.random.fork_rng():
            torch.manual_seed(3)
            loaded: Any = AutoModelForCausalLM.from_pretrained(chosen, dtype=torch.float32)
            tuned: Any = get_peft_model(loaded, LoraConfig(**settings))
            for name, weight in tuned.named_parameters():
                if "lora_" in name and "magnitude" not in name:
                    torch.nn.init.normal_(weight, std=size)
                elif weight.requires_grad:
                    weight.data += size * torch.randn_like(weight) * weight.std()
            tuned.save_pretrained(folder)
        return Model(id=str(chosen), adapter=str(folder))

    return make
