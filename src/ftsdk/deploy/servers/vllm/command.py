"""The command line of `vllm serve`, computed from the adapters. Pure.

Source: vllm 0.32, `vllm/config/lora.py` and `vllm/lora/peft_helper.py`, read 2026-11-27.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from ftsdk.deploy.servers.engines import VLLM
from ftsdk.deploy.servers.plan import RefusedPart
from ftsdk.deploy.servers.served_models import ServedModel, ServedModels

__all__ = ["MAX_RANKS", "VLLM_VERSION", "Paths", "max_lora_rank", "vllm_command", "vllm_refusals"]

VLLM_VERSION = "0.32.0"
"""Whose options these are."""
MAX_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that `--max-lora-rank` takes."""
_MERGE = "merge it: model.export('folder', to='merged'), then serve('folder', engine='vllm')"


class Paths(NamedTuple):
    """Where things are for the vLLM that the command starts."""

    base: str
    """An id on the hub, or a folder."""
    adapters: Mapping[str, str]
    """The folder of each adapter, by the model's name."""
    template: str | None
    """The file of a chat template in place of the base's; None: the base's own."""


def max_lora_rank(ranks: list[int]) -> int | None:
    """Return the smallest value for `--max-lora-rank` that has room for all ranks; None: there is none."""
    return next((allowed for allowed in MAX_RANKS if allowed >= max(ranks)), None)


def vllm_command(engine: VLLM, models: ServedModels, paths: Paths, *, host: str, port: int) -> tuple[str, ...]:
    """Return the command. The key isn't in it: vLLM reads VLLM_API_KEY.

    Args:
        engine: Its settings.
        models: What it serves.
        paths: Where these are.
        host: The address to listen on.
        port: The port.
    """
    words = ["vllm", "serve", paths.base, "--served-model-name", models.base_name, "--host", host, "--port", str(port)]
    if models.base.revision is not None:
        words += ["--revision", models.base.revision, "--tokenizer-revision", models.base.revision]
    # Else the defaults of the model's generation_config.json apply where a request sets nothing.
    words += ["--generation-config", "vllm", "--gpu-memory-utilization", f"{engine.gpu_memory_share:g}"]
    if engine.gpus > 1:
        words += ["--tensor-parallel-size", str(engine.gpus)]
    if engine.context_tokens is not None:
        words += ["--max-model-len", str(engine.context_tokens)]
    if models.base.trust_remote_code:
        words += ["--trust-remote-code"]
    if paths.template is not None:
        words += ["--chat-template", paths.template]
    adapted = models.adapted
    if adapted:
        rank = max_lora_rank([one.adapter.rank for one in adapted if one.adapter is not None])
        words += ["--enable-lora", "--max-loras", str(len(adapted)), "--max-lora-rank", str(rank or MAX_RANKS[-1])]
        words.append("--lora-modules")
        for one in adapted:
            module = {"name": one.name, "path": paths.adapters[one.name], "base_model_name": models.base_name}
            words.append(json.dumps(module))
    return tuple(words)


def vllm_refusals(one: ServedModel) -> list[RefusedPart]:
    """Return what vLLM doesn't load of a model, each with what to do."""
    found: list[str] = []
    if one.model.source == "gguf":
        found.append("a base that is a .gguf file")
    facts = one.adapter
    if facts is not None:
        if facts.rank > MAX_RANKS[-1]:
            found.append(f"rank {facts.rank}, where vLLM's largest is {MAX_RANKS[-1]}")
        if facts.is_dora:
            found.append("DoRA")
        if facts.has_bias:
            found.append("trained biases")
        if facts.own_modules:
            found.append(f"modules_to_save ({', '.join(facts.own_modules)})")
        elif facts.has_more and not facts.has_bias:
            found.append("weights of its own beside the low-rank ones, such as embeddings")
    return [RefusedPart(model=one.name, what=what, advice=_MERGE) for what in found]
