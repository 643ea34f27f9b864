"""What llama.cpp would serve, decided from headers alone."""

from __future__ import annotations

import os
from typing import Literal

from ftsdk.cost.facts.shapes import Shape, shape_of
from ftsdk.deploy.servers.engines import LlamaCpp
from ftsdk.deploy.servers.plan import RefusedPart, ServerPlan
from ftsdk.deploy.servers.served_models import ServedModel, ServedModels, planned_model
from ftsdk.models import inspect_model

__all__ = ["context_of", "llama_plan", "threads_of"]

_BITS: dict[str, float] = {
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 8.5,
    "q6_k": 6.5625,
    "q5_k_m": 5.7,
    "q4_k_m": 4.9,
}
"""Bits of a weight on average, scales included; of the mixed kinds about, since the mix depends on the shape."""
_CACHE_BYTES = 2
"""Of each key and value in the cache: F16."""


def llama_plan(engine: LlamaCpp, models: ServedModels) -> ServerPlan:
    """Return the plan. Reads headers, and writes and loads nothing.

    Raises:
        ModelError: The base isn't there, or isn't whole.
    """
    facts = inspect_model(models.base)
    shape = shape_of(facts)
    context = context_of(engine, facts.max_position_embeddings)
    is_file = models.base.source == "gguf"
    base = (
        f"{models.base} as it is"
        if is_file and not _merges(engine, models)
        else f"{models.base} as {engine.quantization}"
    )
    notes: list[str] = []
    if facts.max_position_embeddings is not None and engine.context_tokens > context:
        notes.append(f"the model's context has {context} tokens, so no more are taken")
    if len(models.adapted) > 1:
        notes.append("requests for different adapters take turns: llama.cpp doesn't batch them together")
    if engine.quantization not in ("f32", "f16", "bf16") and not is_file:
        notes.append(f"weights as {engine.quantization} change some answers; compare them: run.evaluate(against=...)")
    return ServerPlan(
        engine="llama.cpp",
        runs=(
            f"on this machine at {engine.host}, in a process that ends with this one; {engine.parallel} requests at a "
            f"time of {context} tokens each, {threads_of(engine)} threads"
        ),
        base=base,
        models=tuple(planned_model(one) for one in models.models),
        memory_bytes=None if shape is None else _memory(engine, models, shape, context),
        refused=tuple(part for one in models.models for part in _refused(engine, models, one)),
        notes=tuple(notes),
    )


def context_of(engine: LlamaCpp, most: int | None) -> int:
    """Return the tokens of one request: those asked for, or the model's context if it has fewer."""
    return engine.context_tokens if most is None else min(engine.context_tokens, most)


def threads_of(engine: LlamaCpp) -> int:
    """Return the threads that compute."""
    if engine.threads is not None:
        return engine.threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _merges(engine: LlamaCpp, models: ServedModels) -> bool:
    return engine.merge and bool(models.adapted)


def _refused(engine: LlamaCpp, models: ServedModels, one: ServedModel) -> list[RefusedPart]:
    facts = one.adapter
    if facts is None:
        return []
    if engine.merge:
        if len(models.adapted) == 1:
            return []
        advice = "leave merge out, or start a server for each model"
        return [RefusedPart(model=one.name, what="merged weights of several models", advice=advice)]
    return [
        RefusedPart(model=one.name, what=what, advice="serve it alone with its weights merged: LlamaCpp(merge=True)")
        for what in _without_form(one)
    ]


def _without_form(one: ServedModel) -> list[str]:
    """Return the parts of an adapter that have no form in GGUF."""
    facts = one.adapter
    assert facts is not None
    found: list[Literal["DoRA", "trained biases"] | str] = []
    if facts.is_dora:
        found.append("DoRA")
    if facts.has_bias:
        found.append("trained biases")
    if facts.own_modules:
        found.append(f"whole modules of its own ({', '.join(facts.own_modules)})")
    elif facts.has_more and not facts.has_bias:
        found.append("weights of its own beside the low-rank ones, such as embeddings")
    return found


def _memory(engine: LlamaCpp, models: ServedModels, shape: Shape, context: int) -> int:
    weights = shape.parameters * _BITS[engine.quantization] / 8
    adapters = 0 if engine.merge else sum(one.adapter.size_bytes for one in models.models if one.adapter)
    cache = 2 * shape.layers * shape.key_width * _CACHE_BYTES * context * engine.parallel
    return round(weights + adapters + cache)
