"""Fit the memory model to published runs, and print its constants as in constants.yaml.

Constants are fitted to runs on one device or plain data parallelism: what sharding holds is known from its definition.

    python benchmarks/fit_memory.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from fit_training import Fitted, solve
from training_rows import Row, read_rows

from ftsdk.cost.training.constants import MemoryConstants, memory_constants
from ftsdk.cost.training.memory import TrainingMemory, peak_memory

PRIORS = {
    # name: (middle, spread of its logarithm)
    # 16-bit logits and their shifted copy, a 32-bit copy and its softmax: 12 bytes; without the 32 bits 8.
    "logits_copies": (3.0, 0.3),
    "logits_copies_half": (2.0, 0.2),
    # 16-bit logits and their gradient.
    "logits_copies_chunked": (1.0, 0.3),
    # Unpacked integers and the 16-bit weights.
    "dequantised_bytes": (3.0, 0.5),
    "fragmentation": (0.1, 0.5),
    "context_gb": (1.0, 0.5),
}
_SPREAD = 0.06

# What the software of each source does, read in its code.
# Qwen: finetune.py with peft 0.5: bfloat16 autocast for LoRA; QLoRA is GPTQ in float16 by DeepSpeed, without autocast.
# torchtune: 4-bit weights doubly quantised, adapters in bfloat16, AdamW fused, the loss in chunks of 16-bit logits.
# fsdp_qlora: bfloat16 without autocast, dropout 0.1. vessl: FSDP gathers everything in bfloat16.
# Our own runs: before peft's `prepare_model_for_kbit_training` and its 32-bit inputs of adapters were left out.
_OWN = {"has_dropout": True, "upcasts": True, "double_quantization": True, "loss": "fused"}
_DOES: dict[str, dict[str, object]] = {
    "github.com/QwenLM/Qwen": {"has_dropout": True, "frozen_format": "int4", "dequantises_layers": True},
    "github.com/pytorch/torchtune": {"double_quantization": True, "state_bytes": 8.0, "counts_context": False},
    "github.com/AnswerDotAI/fsdp_qlora": {"has_dropout": True},
    "github.com/huggingface/peft": {"casts_inputs": True, "counts_context": False},
    "own measurement": _OWN,
    "own measurement without upcasts": {"double_quantization": True, "loss": "fused"},
    "own measurement of TRL alone": {**_OWN, "has_dropout": False, "counts_context": False},
}


def memory_of(row: Row) -> TrainingMemory:
    """Return the row as the memory model takes it."""
    tuning, is_own = row.step.tuning, row.source.startswith("own measurement")
    does = dict(_DOES.get(row.source.split(", H100")[0], {}))
    is_qwen, is_quantised = "QwenLM" in row.source, tuning == "qlora"
    if not is_quantised:
        does.pop("upcasts", None)
        does.pop("frozen_format", None)
        does.pop("dequantises_layers", None)
    inputs = None
    if is_qwen:
        inputs = float(4 * row.shape.width + row.shape.inner)  # one layer for queries, keys and values
    elif "peft" in row.source:
        inputs = 2.0 * row.shape.width  # queries and values
    memory = TrainingMemory(
        longest_tokens=row.longest_tokens,
        tuning=tuning,
        recomputes=row.step.recomputes,
        rank=row.rank or 16,
        input_width=inputs,
        casts_inputs=tuning in ("lora", "dora") and ((is_own and "without upcasts" not in row.source) or is_qwen),
        double_quantization=False,
        # Our trainer holds weights that move in 32 bits; the published runs held them in 16.
        weight_bytes=4.0 if tuning == "full" and is_own else 2.0,
        optimizer={"8bit": "adam8bit", "": "adam_fused" if "torchtune" in row.source else "adam"}.get(
            row.optimizer, row.optimizer
        ),  # type: ignore[arg-type]
        steps_in_backward=row.optimizer == "paged",
        is_compiled=row.step.is_compiled,
        loss="half" if is_qwen and tuning != "lora" else "chunked" if row.chunked_logits else "whole",
        offloads_activations=row.offloads and not row.step.is_sharded,
        offloads_weights=row.offloads and row.step.is_sharded,
        shards=row.step.devices if row.step.is_sharded else 1,
    )
    return replace(memory, **does)  # type: ignore[arg-type]


def predicted_gb(row: Row, constants: MemoryConstants | None = None) -> float:
    return peak_memory(memory_of(row), row.shape, constants).likely / 1e9


def with_memory(rows: Sequence[Row]) -> list[Row]:
    """Return the rows whose peak is known."""
    return [row for row in rows if row.peak_memory_gb and row.knows_lengths]


def fit(rows: Sequence[Row]) -> MemoryConstants:
    chosen = [row for row in rows if not row.step.is_sharded]

    def misses(fitted: Fitted) -> np.ndarray:
        constants = replace(memory_constants(), **fitted)
        return (
            np.array([math.log(predicted_gb(row, constants) / (row.peak_memory_gb or 1)) for row in chosen]) / _SPREAD
        )

    return replace(memory_constants(), **solve(misses, PRIORS))


def leaving_one_source_out(rows: Sequence[Row]) -> list[tuple[Row, float, bool]]:
    """Return each row with its error by a fit to the other sources, and whether its 80% interval holds it."""
    found: list[tuple[Row, float, bool]] = []
    for source in sorted({row.source for row in rows}):
        constants = fit([row for row in rows if row.source != source])
        for row in (row for row in rows if row.source == source):
            peak = peak_memory(memory_of(row), row.shape, constants)
            measured = (row.peak_memory_gb or 0) * 1e9
            found.append((row, peak.likely / measured - 1, peak.low <= measured <= peak.high))
    return found


if __name__ == "__main__":
    rows = with_memory(read_rows())
    fitted = fit(rows)
    for name in PRIORS:
        print(f"{name}: {getattr(fitted, name):.4g}")
    errors = [abs(predicted_gb(row, fitted) / (row.peak_memory_gb or 1) - 1) for row in rows]
    print(f"{np.mean(errors):.2%} of {len(errors)}")
    out = leaving_one_source_out(rows)
    for source in sorted({row.source for row in rows}):
        mine = [(e, i) for r, e, i in out if r.source == source]
        print(source, f"{np.mean([abs(e) for e, _ in mine]):.1%} inside {np.mean([i for _, i in mine]):.0%}")
    print(f"out: {np.mean([abs(e) for _, e, _ in out]):.2%}, inside {np.mean([i for _, _, i in out]):.0%}")
