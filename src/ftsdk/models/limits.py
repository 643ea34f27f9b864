"""What the files of a model may state and take: the limits, once and as data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LIMITS", "ModelLimits"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelLimits:
    """Limits of what is read from a model's files, so that none can take all memory or all time."""

    json_bytes: int = 50_000_000
    """Of a config or an index; the index of the largest models has a few megabytes."""
    header_bytes: int = 100_000_000
    """The limit of the safetensors format itself (https://github.com/huggingface/safetensors, read 2026-11-23)."""
    dimensions: int = 16
    """Of one tensor."""
    parameters: int = 2**53
    """Nine thousand trillion, far beyond any model: what a damaged header multiplies to must stay countable."""
    config_size: int = 2**40
    """A larger size in a config is damage, and better unknown than counted with."""
    packing: int = 32
    """Weights that one stored number may hold: a config may state so many times what the files have. The tightest
    packing in use, GPTQ's 2-bit weights in int32, is 16."""


LIMITS = ModelLimits()
