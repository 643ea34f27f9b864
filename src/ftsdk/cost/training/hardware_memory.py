"""The peak memory of a training on known hardware, whether it fits, and how many rows would."""

from __future__ import annotations

from dataclasses import replace

from ftsdk.cost.training.calibration import Calibration
from ftsdk.cost.training.constants import MemoryConstants, memory_constants
from ftsdk.cost.training.job_memory import (
    adapter_inputs,
    adapters_on_cpu,
    dropout_of,
    loss_of,
    memory_of_tuning,
    optimizer_of,
    trained_parameters,
)
from ftsdk.cost.training.memory import (
    PeakMemory,
    TrainingMemory,
    largest_batch,
    layer_bytes_on_cpu,
    peak_memory,
    verdict,
)
from ftsdk.cost.training.ranges import exactly, within
from ftsdk.cost.training.work import Work
from ftsdk.protocol.estimates import EstimateLine, MemoryEstimate

__all__ = ["memory_estimate", "memory_notes"]

_PYTHON_GB = 0.8
"""GB that a process without a CUDA context holds before it trains: Python with its libraries."""
_PYTHON_SPREAD_GB = 0.15


def memory_estimate(work: Work, *, calibration: Calibration | None) -> MemoryEstimate:
    """Predict the peak.

    Args:
        work: What is trained where.
        calibration: Measurements on the device; None: there are none.
    """
    memory = _training_memory(work)
    constants = memory_constants()
    if work.hardware.device != "cuda":
        constants = replace(constants, context_gb=_PYTHON_GB, context_spread_gb=_PYTHON_SPREAD_GB)
    plain = peak_memory(memory, work.shape, constants)
    there = work.hardware.memory_gib or work.device.memory_gib
    found = MemoryEstimate(
        peak_gb=within(plain.likely / 1e9, plain.spread),
        verdict="unknown",
        fixed_gb=plain.fixed / 1e9,
        varying_gb=plain.varying / 1e9,
    )
    source = constants.source
    if calibration is not None:
        constants = _measured(work, calibration, constants, plain)
        source = calibration.source
    peak = peak_memory(memory, work.shape, constants)
    found = found.replace(peak_gb=within(peak.likely / 1e9, peak.spread), lines=_lines(peak, source))
    if there is None:
        return found
    row = work.method.sequences_per_row * _longest(work)
    return found.replace(
        there_gib=there,
        verdict=verdict(peak, there),
        largest_micro_batch=largest_batch(memory, work.shape, there, row_tokens=row, constants=constants),
    )


def memory_notes(memory: MemoryEstimate, work: Work) -> tuple[str, ...]:
    """Warn of a training that is likely to run out of memory, and name what to take instead.

    It isn't refused: the model of memory may be wrong.

    Args:
        memory: As estimated.
        work: What is trained where.
    """
    if memory.verdict != "no" or memory.there_gib is None:
        return ()
    rows, devices = round(work.rows_at_once), work.execution.devices
    each = (
        f", and each of the {devices} devices holds all of it" if devices > 1 and not work.execution.is_sharded else ""
    )
    there_gb = memory.there_gib * 2**30 / 1e9
    instead: list[str] = []
    if not work.tuning.adapts:
        instead.append("LoRA() or QLoRA()")
    elif not work.tuning.quantizes and not work.is_on_cpu:
        instead.append("QLoRA()")
    if memory.peak_gb.likely - memory.varying_gb < there_gb:
        instead.append("shorter rows (max_length=)")
    instead += [work.hardware.larger, "a smaller model"]
    return (
        f"the training will likely run out of memory: about {memory.peak_gb.likely:,.0f} GB for {rows} "
        f"row{'' if rows == 1 else 's'} at a time, and "
        f"{work.hardware.name} has {there_gb:,.0f} GB ({memory.there_gib:g} GiB){each}. Take {', '.join(instead[:-1])} "
        f"or {instead[-1]}",
    )


def _longest(work: Work) -> float:
    """Return the tokens of the longest row: the upper end if they were guessed, and never more than rows are cut to."""
    longest = work.train.longest * work.train.high_factor
    limit = work.workload.max_length
    return longest if limit is None else min(longest, limit)


def _training_memory(work: Work) -> TrainingMemory:
    tuning, execution = work.tuning, work.execution
    tokens = work.tokens_at_once * _longest(work) / work.train.longest
    memory = replace(
        memory_of_tuning(tuning, precision=execution.precision, longest_tokens=tokens),
        recomputes=execution.recomputes,
        is_compiled=execution.is_compiled,
        projected_share=work.projected_share,
        adapted=trained_parameters(tuning, work.shape) if tuning.adapts else None,
        input_width=adapter_inputs(tuning, work.shape),
        loss=loss_of(work.method),
        optimizer=optimizer_of(execution.optimizer),
        shards=execution.devices if execution.is_sharded else 1,
    )
    if not work.is_on_cpu:
        return memory
    is_packed = execution.packed_tokens > 0
    return replace(
        memory,
        # Logits of packed rows are never there whole.
        loss="fused" if is_packed else "whole",
        reuses_memory=False,
        layer_bytes=layer_bytes_on_cpu(
            work.shape, adapters=adapters_on_cpu(tuning, is_packed=is_packed), has_dropout=dropout_of(tuning) > 0
        ),
    )


def _measured(work: Work, calibration: Calibration, constants: MemoryConstants, plain: PeakMemory) -> MemoryConstants:
    """Adjust the constants by what was measured, so that the verdict and the largest batch follow from it too."""
    fit = calibration.memory_fit(work.tuning.kind, spread=plain.spread)
    fixed, varying = plain.fixed / 1e9, plain.varying / 1e9
    return replace(
        constants,
        context_gb=constants.context_gb + fit.offset_gb,
        varying_factor=fit.factor,
        spread=fit.spread(fixed, varying),
        is_measured=True,
    )


def _lines(peak: PeakMemory, source: str) -> tuple[EstimateLine, ...]:
    parts = {
        "weights": peak.weights,
        "gradients and optimizer": peak.states,
        "activations": peak.activations,
        "logits": peak.logits,
        "context": peak.context,
    }
    return tuple(
        EstimateLine(label=label, amount=exactly(max(0.0, size) / 1e9), unit="GB", source=source)
        for label, size in parts.items()
    )
