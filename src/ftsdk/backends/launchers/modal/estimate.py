"""Which GPU a job fits on, and how long its training may take.

By the models of memory and of time, before any row is counted.

They choose a GPU and a timeout; the training itself depends on neither. What a run will take is said by
`job.estimate()`, which counts rows.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import NamedTuple

from ftsdk.backends.hosted.micro_batch import rows_at_once
from ftsdk.backends.launchers.modal.gpus import Book, Gpu, GpuChoice
from ftsdk.cost.facts.shapes import Shape, shape_of
from ftsdk.cost.training.job_memory import computed_as, long_row, memory_of_job
from ftsdk.cost.training.memory import PeakMemory, peak_memory, verdict
from ftsdk.cost.training.ranges import Z80
from ftsdk.cost.training.step_time import MicroStep, spread_above, spread_of, step_time
from ftsdk.models import ModelFacts
from ftsdk.protocol.estimates import Range
from ftsdk.spec import JobSpec

__all__ = ["BESIDES_S", "besides_at_most_s", "choose_gpu", "training_seconds"]

BESIDES_S = 90
"""What a container, imports and loading take beside the training, in seconds: likely for models of some GB."""
_GIB = 2**30
_ABOUT = Decimal("1.25")
"""Costs that are closer than this are the same as far as the model of time can tell.

It is off by a quarter on software that it doesn't know. Of them the cheaper hour is the smaller risk.
"""
_TOKENS_A_ROW = (100, 300, 1000)
"""Low, likely and high, assumed for rows that haven't been measured."""
_ORIGINS = {"files": "from its files", "table": "from the table of shapes", "size": "from its name"}


class _Fitting(NamedTuple):
    gpu: Gpu
    usd: Decimal | None
    """Likely, for the GPU alone; None: the speed isn't known."""
    text: str


def choose_gpu(spec: JobSpec, facts: ModelFacts, book: Book) -> tuple[GpuChoice | None, str]:
    """Choose a GPU that holds the whole job, with a margin for error.

    Of those on which the run costs about the least it is the cheapest by the hour. One of unknown speed is chosen only
    if no other fits, since the cost of the run can't be estimated.

    Returns:
        The choice, and the reason; None if it fits on no single GPU.
    """
    shape = shape_of(facts)
    if shape is None:
        return GpuChoice(gpu=book.gpus["A100-80GB"]), (
            f"{facts.name} isn't on this machine and its name doesn't contain its size, so memory can't be estimated: "
            "80 GiB hold LoRA of about "
            "30B parameters. Set gpu=, or download the model, for a better choice"
        )
    fitting: list[_Fitting] = []
    sum_of = ""
    # Of two names for one card the one that says more, such as A100-40GB.
    for gpu in sorted(
        (g for g in book.gpus.values() if g.has_bfloat16 and g.name[-1] not in "!+"),
        key=lambda g: (g.memory_gib, -len(g.name)),
    ):
        rows, _ = rows_at_once(spec, facts, memory_gib=gpu.memory_gib, share=spec.batch_size)
        tokens = rows * long_row(spec, facts)
        peak = peak_memory(memory_of_job(spec, longest_tokens=tokens), shape)
        sum_of = _memory_text(peak, shape, tokens)
        if verdict(peak, gpu.memory_gib) == "fits":
            seconds = training_seconds(spec, facts, gpu, processes=1)
            usd = None if seconds is None else gpu.usd_per_s * (BESIDES_S + round(seconds.likely))
            fitting.append(_Fitting(gpu, usd, sum_of))
    priced = [(found.usd, found) for found in fitting if found.usd is not None]
    if priced:
        least = min(usd for usd, _ in priced)
        found = min((found for usd, found in priced if usd <= _ABOUT * least), key=lambda found: found.gpu.usd_per_s)
        return (
            GpuChoice(gpu=found.gpu),
            f"enough memory ({found.gpu.memory_gib:g} GiB), and no more expensive GPU makes the run much cheaper: "
            f"{found.text}",
        )
    if fitting:
        found = min(fitting, key=lambda found: found.gpu.usd_per_s)
        return GpuChoice(
            gpu=found.gpu
        ), f"the cheapest with enough memory ({found.gpu.memory_gib:g} GiB); its speed isn't published: {found.text}"
    return None, sum_of


def training_seconds(spec: JobSpec, facts: ModelFacts, gpu: Gpu, *, processes: int) -> Range | None:
    """Predict how long the training takes.

    Rows aren't counted in tokens yet: their number is guessed from the text, or taken as 100, 300 and 1,000 a row
    without it, and never more than `max_length`.

    Args:
        spec: The job.
        facts: What is known of its model.
        gpu: What trains.
        processes: How many of it.

    Returns:
        Seconds, wider than an interval of 80%; None if the model's size or the GPU's speed isn't known.
    """
    shape = shape_of(facts)
    if shape is None or gpu.device.peak_tflops is None:
        return None
    rows = spec.train.training_sequences * spec.epochs
    if spec.max_steps is not None:
        rows = min(rows, spec.max_steps * spec.batch_size)
    share = max(1, spec.batch_size // processes)
    at_once, _ = rows_at_once(spec, facts, memory_gib=gpu.memory_gib, share=share)

    def seconds(tokens_a_row: float, spreads: float) -> float:
        row_tokens = min(tokens_a_row, spec.max_length or tokens_a_row)
        step = MicroStep(
            tokens=at_once * spec.method.sequences_per_row * row_tokens,
            row_tokens=row_tokens,
            tuning=computed_as(spec.tuning),
            recomputes=True,
            accumulation=share / at_once,
            devices=processes,
            reference_passes=spec.method.untrained_passes,
        )
        time = step_time(step, shape, gpu.device)
        spread = spread_of(step, time, gpu.device)
        if spreads > 0:
            spread = spread_above(step, gpu.device, spread)
        return math.ceil(rows / at_once / processes) * time.total_s * math.exp(spreads * spread)

    guess, sequences = spec.train.tokens, spec.train.training_sequences * spec.method.sequences_per_row
    low, likely, high = (
        _TOKENS_A_ROW if guess is None else (max(1.0, n / sequences) for n in (guess.low, guess.likely, guess.high))
    )
    return Range(low=seconds(low, -Z80), likely=seconds(likely, 0), high=seconds(high, Z80))


def besides_at_most_s(spec: JobSpec, facts: ModelFacts) -> float:
    """Return the most seconds that downloading the model and writing checkpoints may take, at 0.03 and 0.15 GB/s."""
    shape = shape_of(facts)
    if shape is None:
        return 0.0
    written = 0.0 if spec.tuning.adapts else 4 * 12 * shape.parameters / 0.15e9
    return 2 * shape.parameters / 0.03e9 + written


def _memory_text(peak: PeakMemory, shape: Shape, tokens: int) -> str:
    return (
        f"{shape.parameters / 1e9:.2g}B parameters ({_ORIGINS[shape.origin]}): weights {peak.weights / _GIB:.1f}, "
        "trained states "
        f"{peak.states / _GIB:.1f}, activations {peak.activations / _GIB:.1f} and logits {peak.logits / _GIB:.1f} for "
        f"{tokens:,} tokens at a time, "
        f"CUDA {peak.context / _GIB:.1f}: {peak.likely / _GIB:.1f} GiB, and a margin for error"
    )
