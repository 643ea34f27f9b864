"""How much memory a fine-tune needs on one GPU, and how long it may take: rough, pure, and said to be so.

Both are formulas from published measurements, not measurements of the job. They choose a GPU and a timeout; the training itself
depends on neither.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ftsdk.backends.launchers.modal.gpus import Book, Gpu, GpuChoice
from ftsdk.models import ModelFacts
from ftsdk.spec import DPO, FullFineTune, JobSpec, QLoRA

__all__ = ["Memory", "Seconds", "choose_gpu", "memory_needed", "micro_batch_for", "parameters_in_name", "training_seconds"]

_GIB = 2**30
_MARGIN = 1.15
"""The formula was under by more than 15 % for one row of 32."""
_UNKNOWN_ROW_TOKENS = 2048
"""Rows are rarely longer, whatever the model's context allows."""
_SIZE_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z0-9])")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What one GPU has to hold."""

    gib: float
    """With a margin of 15 %."""
    text: str
    """How it comes about, for people."""


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Training time: with 80 % confidence between `low` and `high`."""

    low: float
    likely: float
    high: float


def parameters_in_name(name: str) -> int | None:
    """Read a model's size from its name: `Mistral-7B-Instruct-v0.3` has 7,000,000,000 parameters, says its name."""
    sizes = [float(number) * (1e9 if unit in "Bb" else 1e6) for number, unit in _SIZE_IN_NAME.findall(name)]
    return int(max(sizes)) if sizes else None


def memory_needed(spec: JobSpec, facts: ModelFacts, *, micro_batch: int) -> Memory | None:
    """Estimate the peak memory of one device, every device holding the whole model.

    Weights + trained states + one bfloat16 tensor a layer (activations are computed again) + the layer at work + logits +
    2.5 GB for CUDA and fragmentation. Unknown widths are taken from the size, as in models of the Llama family.

    Args:
        spec: The job.
        facts: What is known of the model.
        micro_batch: Sequences at a time on one device.

    Returns:
        None if the model's size isn't known.

    Source: the formula and its two constants fitted to 32 published LoRA and QLoRA runs of 1.8B to 72B (mean error 4.8 %;
    https://github.com/QwenLM/Qwen README, profiling tables); 16 bytes a trained parameter: EleutherAI's calculator.
    """
    parameters = facts.parameters or parameters_in_name(facts.name)
    if parameters is None:
        return None
    width = facts.hidden_size or max(64, int(math.sqrt(parameters / 12 / 32)) // 64 * 64)
    layers = facts.num_hidden_layers or 32
    inner = facts.intermediate_size or int(2.7 * width)
    vocabulary = facts.vocab_size or 128_000
    tokens = micro_batch * min(spec.max_length or facts.max_position_embeddings or _UNKNOWN_ROW_TOKENS, _UNKNOWN_ROW_TOKENS)
    if isinstance(spec.method, DPO):
        tokens *= 2  # the chosen and the rejected answer go through together
    embeddings = 2 * vocabulary * width
    if isinstance(spec.tuning, FullFineTune):
        weights, trained = 0.0, float(parameters)
    else:
        trained = float(spec.tuning.rank * layers * (7 * width + 3 * (width + inner)))
        if isinstance(spec.tuning, QLoRA):
            weights = max(0, parameters - embeddings) * 0.5 * 1.08 + 2 * min(embeddings, parameters)
        else:
            weights = parameters * (4.0 if spec.dtype == "float32" else 2.0)
    states = 16 * trained
    activations = 2.0 * tokens * width * layers + 2.0 * tokens * (8 * width + 4 * inner)
    logits = 2.1 * 4 * tokens * vocabulary
    total = weights + states + activations + logits + 2.46e9
    text = (
        f"{parameters / 1e9:.2g}B parameters ({'from its files' if facts.parameters else 'from its name'}): weights {weights / _GIB:.1f}, "
        f"trained states {states / _GIB:.1f}, activations {activations / _GIB:.1f} and logits {logits / _GIB:.1f} for {tokens:,} tokens at a time, "
        f"CUDA 2.3 GiB; with 15 % to spare {_MARGIN * total / _GIB:.1f} GiB"
    )
    return Memory(gib=_MARGIN * total / _GIB, text=text)


def choose_gpu(spec: JobSpec, facts: ModelFacts, book: Book) -> tuple[GpuChoice | None, str]:
    """Choose the cheapest GPU that the job fits on, bfloat16 presumed.

    Returns:
        The choice, and the reason; None if it fits on no single GPU.
    """
    candidates = sorted(
        (g for g in book.gpus.values() if g.has_bfloat16 and g.name[-1] not in "!+"), key=lambda g: (g.usd_per_s, -g.memory_gib, -len(g.name))
    )
    needed: Memory | None = None
    for gpu in candidates:
        # The micro-batch follows from the memory (see the trainer), and the memory that is needed from the micro-batch.
        needed = memory_needed(spec, facts, micro_batch=micro_batch_for(gpu.memory_gib, spec.batch_size))
        if needed is None:
            fallback = book.gpus["A100-80GB"]
            return GpuChoice(gpu=fallback), (
                f"{facts.name} isn't on this machine and its name tells no size, so there is nothing to estimate from: 80 GiB hold LoRA of about "
                "30B parameters. Name a gpu=, or download the model, if you know better"
            )
        if needed.gib <= gpu.memory_gib:
            return GpuChoice(gpu=gpu), f"the cheapest with enough memory ({gpu.memory_gib:g} GiB): {needed.text}"
    return None, "" if needed is None else needed.text


def micro_batch_for(memory_gib: float, batch_size: int) -> int:
    """Give at most as many sequences at a time as the trainer takes on a device of this memory."""
    cap = 16 if memory_gib >= 70 else 8 if memory_gib >= 35 else 4 if memory_gib >= 20 else 2
    return max(n for n in range(1, min(cap, batch_size) + 1) if batch_size % n == 0)


def training_seconds(spec: JobSpec, facts: ModelFacts, gpu: Gpu, *, processes: int) -> Seconds | None:
    """Estimate the training time from the arithmetic that has to be done.

    Rows aren't counted in tokens before the run: 100, 300 and 1,000 tokens a row (never more than `max_length`) stand for
    low, likely and high, on top of the usual band of such estimates (0.7 to 2.2 times).

    Returns:
        None if the model's size or the GPU's speed isn't known.

    Source: FLOPs a token: 6N for adapters and 8N for all weights with activations computed again, 2N more for DPO's reference
    (llm-foundry's benchmarking README; EleutherAI's calculator); 40 % of the peak where no efficiency was published.
    """
    parameters = facts.parameters or parameters_in_name(facts.name)
    if parameters is None or gpu.peak_tflops is None:
        return None
    rows = spec.train.rows * spec.epochs
    if spec.max_steps is not None:
        rows = min(rows, spec.max_steps * spec.batch_size)
    flops = 8.0 if isinstance(spec.tuning, FullFineTune) else 6.0
    sequences = 1
    if isinstance(spec.method, DPO):
        flops, sequences = flops + 2.0, 2
    speed = gpu.peak_tflops * 1e12 * (gpu.efficiency or 0.4) * processes

    def seconds(tokens_per_row: int) -> float:
        tokens = min(tokens_per_row, spec.max_length or tokens_per_row)
        # Short steps are bound by the start of kernels: about a second for four steps.
        return rows * sequences * tokens * flops * parameters / speed + rows / spec.batch_size * 0.25

    return Seconds(low=0.7 * seconds(100), likely=seconds(300), high=2.2 * seconds(1000))
