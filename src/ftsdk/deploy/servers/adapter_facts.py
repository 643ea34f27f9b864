"""What servers need to know of an adapter, read from its `adapter_config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ftsdk.errors import ModelError
from ftsdk.models import read_json
from ftsdk.models.adapter_files import check_adapter, has_own_embeddings

__all__ = ["AdapterFacts", "adapter_facts"]


@dataclass(frozen=True, kw_only=True)
class AdapterFacts:
    """An adapter, as far as a server is concerned."""

    rank: int
    """The largest of its matrices: patterns give some layers another one."""
    size_bytes: int
    is_dora: bool
    has_bias: bool
    """Whether it trains biases."""
    own_modules: tuple[str, ...]
    """Modules that it replaces whole, such as `lm_head`."""
    has_more: bool
    """Whether it replaces or trains embeddings or other weights beside its low-rank ones."""


def adapter_facts(folder: str) -> AdapterFacts:
    """Read the config of an adapter.

    Raises:
        ModelError: The adapter isn't there or isn't whole, or it isn't a LoRA.
    """
    check_adapter(folder)
    path = Path(folder).expanduser()
    config = read_json(path / "adapter_config.json", folder)
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise ModelError(
            f"{folder} is an adapter of the kind {kind}, and servers take LoRA only. Answer with it here: "
            "model.generate(...)"
        )
    ranks = [config.get("r"), *_mapping(config.get("rank_pattern")).values()]
    found = [rank for rank in ranks if isinstance(rank, int) and not isinstance(rank, bool) and rank > 0]
    if not found:
        raise ModelError(f"{folder}/adapter_config.json has no rank ('r'). Save the adapter again.")
    own = config.get("modules_to_save") or []
    return AdapterFacts(
        rank=max(found),
        size_bytes=(path / "adapter_model.safetensors").stat().st_size,
        is_dora=bool(config.get("use_dora")),
        has_bias=bool(config.get("lora_bias")) or config.get("bias", "none") != "none",
        own_modules=tuple(str(name) for name in cast("list[object]", own)) if isinstance(own, list) else (),
        has_more=has_own_embeddings(folder),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
