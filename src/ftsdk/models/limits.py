"""What the files of a model may state and take: the limits, once and as data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LIMITS", "TEMPLATE_LIMITS", "ModelLimits", "TemplateLimits"]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class TemplateLimits:
    """Limits of a chat template, which is a program, and of the rows that it is tried with."""

    trial_s: float = 10.0
    """Seconds that a process of its own has for two short messages; the templates of well-known models take
    milliseconds."""
    trial_bytes: int = 2**30
    """Memory of a process that tries a template, beyond what it starts with."""
    sample_s: float = 60.0
    """Seconds that a process of its own has for a sample of the rows, the start of Python included."""
    chunk_s: float = 60.0
    """Seconds for rendering a thousand rows in this process; more than a hundred times what they take."""
    whole_rows: int = 2_000
    """Up to so many rows, a plan renders all of them..."""
    sampled_rows: int = 500
    """...and above that so many, evenly spread over the data, and the longest ones."""
    longest_rows: int = 10
    sampled_characters: int = 2_000_000
    """Of the rows that a plan renders; half as many again for the longest rows."""


TEMPLATE_LIMITS = TemplateLimits()
