"""What the stand-in offers: models with their limits and prices, and hardware with its price.

A snapshot for tests, not a catalogue.
"""

from __future__ import annotations

from typing import Any

from ftsdk.spec import Value

__all__ = ["HARDWARE", "MODELS", "Hardware", "ModelOffer"]

_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class ModelOffer(Value):
    """A model that can be tuned, with its limits (docs.together.ai, "supported models", read 2026-11) and its price."""

    name: str
    """The service's own name for it."""
    max_rank: int = 64
    batch_size: int = 8
    """The least and the most sequences a batch: the same number for nearly all models."""
    max_batch_size: int | None = None
    """The most, where it isn't the least."""
    full: bool = False
    """Whether full fine-tuning is offered."""
    max_length_sft: int = 65536
    max_length_dpo: int = 32768
    min_length: int = 512
    accumulation: int = 1
    """Gradient accumulation steps, where the request doesn't say."""
    max_epochs: int = 20
    max_evals: int = 100
    max_checkpoints: int = 20
    min_learning_rate: float = 1e-8
    max_learning_rate: float = 0.01
    vision: bool = False
    merges_lora: bool = True
    usd_per_mtok: float = 0.34
    """SFT with LoRA, US dollars for a million tokens.

    DPO costs two and a half times that, full fine-tuning 1.125 times.
    """
    minimum_usd: float = 4.0
    serverless: bool = False
    """Whether chat works without a deployment."""
    dedicated: bool = True
    """Whether it, and what is tuned from it, can be deployed."""
    configs_of_tuned: bool = True
    """Whether configs are listed for what is tuned from it too, or only for itself."""

    def limits(self) -> dict[str, Any]:
        """Return the answer to a question about its limits."""
        most = self.max_batch_size or self.batch_size
        lora = {"default_rank": self.max_rank, "max_rank": self.max_rank, "target_modules": list(_MODULES)}
        batch = {"min_batch_size": self.batch_size, "max_batch_size": most, "max_batch_size_dpo": most}
        # The real one reports zeros, not nothing, where full fine-tuning isn't offered.
        none = {"min_batch_size": 0, "max_batch_size": 0, "max_batch_size_dpo": 0}
        return {
            "model_name": self.name,
            "lora_training": {**lora, **batch},
            "full_training": dict(batch if self.full else none),
            "supports_full_training": self.full,
            "max_num_epochs": self.max_epochs,
            "max_num_evals": self.max_evals,
            "max_num_checkpoints": self.max_checkpoints,
            "min_learning_rate": self.min_learning_rate,
            "max_learning_rate": self.max_learning_rate,
            "min_max_seq_length": self.min_length,
            "max_seq_length_sft": self.max_length_sft,
            "max_seq_length_dpo": self.max_length_dpo,
            "default_gradient_accumulation_steps": self.accumulation,
            "supports_vision": self.vision,
            "supports_tools": True,
            "supports_reasoning": False,
            "merge_output_lora": self.merges_lora,
        }

    def price_usd(self, tokens: int, *, method: str, is_full: bool) -> float:
        """Return the price of training on so many tokens: tokens times price, and never less than the minimum."""
        rate = self.usd_per_mtok * (2.5 if method == "dpo" else 1) * (1.125 if is_full else 1)
        return max(tokens * rate / 1e6, self.minimum_usd)


MODELS: tuple[ModelOffer, ...] = (
    ModelOffer(
        name="example/tiny-instruct",
        full=True,
        max_length_sft=8192,
        max_length_dpo=4096,
        max_batch_size=32,
        serverless=True,
    ),
    ModelOffer(name="Qwen/Qwen3.5-0.8B", full=True, max_length_sft=131072, max_length_dpo=131072),
    ModelOffer(name="Qwen/Qwen3.5-9B", full=True, max_length_dpo=49152),
    ModelOffer(
        name="Qwen/Qwen3.5-27B", full=True, max_length_sft=32768, max_length_dpo=16384, batch_size=16, usd_per_mtok=1.05
    ),
    ModelOffer(
        name="meta-llama/Meta-Llama-3.1-8B-Instruct-Reference", full=True, max_length_sft=131072, max_length_dpo=65536
    ),
    ModelOffer(
        name="openai/gpt-oss-20b",
        max_length_sft=131072,
        max_length_dpo=65536,
        batch_size=1,
        accumulation=8,
        usd_per_mtok=0.40,
    ),
    ModelOffer(
        name="deepseek-ai/DeepSeek-V3.1",
        batch_size=2,
        accumulation=8,
        max_rank=16,
        usd_per_mtok=10,
        minimum_usd=20,
        dedicated=False,
    ),
)
"""What is offered unless a test says otherwise."""


class Hardware(Value):
    """A kind of machine for deployments."""

    name: str
    """As deployments say it: `1xnvidia-h100-80gb`."""
    gpu_type: str
    gpu_count: int
    gpu_memory_gib: int
    price_cents_per_hour: int
    """US cents for an hour of one replica; billed by the minute."""
    free: int = 8
    """How many can be had."""
    listed: bool = True
    """Whether the list of instance types has it; if not, nobody knows its price."""

    @property
    def id(self) -> str:
        """Its id."""
        return f"hw_{self.name}"

    @property
    def accelerator(self) -> str:
        """The GPU as configs name it: `nvidia-h100-80gb`."""
        return self.name.partition("x")[2]

    def to_wire(self) -> dict[str, Any]:
        """Return it as the service lists it."""
        return {
            "id": self.id,
            "name": self.name,
            "description": f"{self.gpu_count} x {self.gpu_type}",
            "gpuType": self.gpu_type,
            "gpuCount": self.gpu_count,
            "gpuMemoryGib": self.gpu_memory_gib,
            "priceCentsPerHour": self.price_cents_per_hour,
            "regions": [{"name": "us-central-4", "headroom": {"relation": "RELATION_EQ", "value": self.free}}],
        }


HARDWARE: tuple[Hardware, ...] = (
    Hardware(
        name="1xnvidia-h100-80gb", gpu_type="nvidia-h100-80gb", gpu_count=1, gpu_memory_gib=80, price_cents_per_hour=399
    ),
    Hardware(
        name="2xnvidia-h100-80gb",
        gpu_type="nvidia-h100-80gb",
        gpu_count=2,
        gpu_memory_gib=160,
        price_cents_per_hour=798,
    ),
    Hardware(
        name="1xnvidia-b200-180gb",
        gpu_type="nvidia-b200-180gb",
        gpu_count=1,
        gpu_memory_gib=180,
        price_cents_per_hour=899,
        free=0,
    ),
)
"""Prices of docs.together.ai, "dedicated endpoints: pricing", read about 2026-09."""
