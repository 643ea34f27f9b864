"""What a tuning trains and holds in memory, also before rows are counted in tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from ftsdk.cost.facts.shapes import Shape
from ftsdk.cost.training.memory import AdaptersOnCPU, Loss, TrainingMemory, adapter_inputs_on, adapter_parameters_on
from ftsdk.models import ModelFacts
from ftsdk.protocol.workload import Precision
from ftsdk.spec import DoRA, FullFineTune, JobSpec, LoRA, Method, QLoRA, Tuning

__all__ = [
    "LONG_ROW_TOKENS",
    "adapter_inputs",
    "adapters_on_cpu",
    "dropout_of",
    "long_row",
    "loss_of",
    "memory_of_job",
    "memory_of_tuning",
    "trained_parameters",
]

LONG_ROW_TOKENS = 2048
"""Tokens of the longest row where its text wasn't measured.

Rows are rarely longer, whatever the model's context allows.
"""


def long_row(spec: JobSpec, facts: ModelFacts) -> int:
    """Return the tokens presumed for the longest row.

    What its text may have, and never more than `max_length` or the positions allow.
    """
    guessed = spec.train.longest_tokens
    most = LONG_ROW_TOKENS if guessed is None else max(1, round(guessed.high))
    longest = min(spec.max_length or facts.max_position_embeddings or most, most)
    # The sequences of a row go through together.
    return spec.method.sequences_per_row * longest


def memory_of_job(spec: JobSpec, *, longest_tokens: float) -> TrainingMemory:
    """Return what one device holds that has the whole model and recomputes activations.

    Args:
        spec: The job.
        longest_tokens: Tokens of the micro-batch with the longest rows, padding included.
    """
    memory = memory_of_tuning(spec.tuning, precision=spec.dtype, longest_tokens=longest_tokens)
    return replace(memory, loss=loss_of(spec.method))


def memory_of_tuning(tuning: Tuning, *, precision: Precision | None, longest_tokens: float) -> TrainingMemory:
    """Return what one device holds that has the whole model and recomputes activations.

    Values between layers are as wide as the computation: neither the loader nor the adapters turn them into 32 bits.

    Args:
        tuning: Which weights move.
        precision: Number format of the computation; None: one of 16 bits.
        longest_tokens: Tokens of the micro-batch with the longest rows, padding included.
    """
    match tuning:
        case FullFineTune():
            rank, double_quantization = 1, False
        case QLoRA():
            rank, double_quantization = tuning.rank, tuning.double_quantization
        case LoRA() | DoRA():
            rank, double_quantization = tuning.rank, False
        case _:
            assert_never(tuning)
    return TrainingMemory(
        longest_tokens=longest_tokens,
        tuning=tuning.kind,
        recomputes=True,
        rank=rank,
        double_quantization=double_quantization,
        has_dropout=dropout_of(tuning) > 0,
        # Weights that move are held in 32 bits.
        weight_bytes=2.0 if tuning.adapts and precision != "float32" else 4.0,
    )


def loss_of(method: Method) -> Loss:
    """Return how TRL holds the logits of a method on a GPU.

    TRL 1.16 never holds those of SFT whole, but two of our own runs with it took more than that explains, and older
    versions hold them. 16-bit logits without a 32-bit copy are billed, which errs on the safe side.
    """
    # What compares answers needs their probabilities, and so whole logits.
    return "whole" if method.compares_answers else "half"


def trained_parameters(tuning: Tuning, shape: Shape) -> float:
    """Return how many parameters are trained.

    All, or those of adapters, rank x (inputs + outputs) of each linear layer that has one.
    """
    match tuning:
        case FullFineTune():
            return shape.parameters
        case LoRA() | QLoRA() | DoRA():
            return adapter_parameters_on(shape, tuning.rank, tuning.target_modules)
        case _:
            assert_never(tuning)


def adapter_inputs(tuning: Tuning, shape: Shape) -> float | None:
    """Return the summed widths of the inputs that adapters of one block keep; None without adapters."""
    match tuning:
        case FullFineTune():
            return None
        case LoRA() | QLoRA() | DoRA():
            return adapter_inputs_on(shape, tuning.target_modules)
        case _:
            assert_never(tuning)


def adapters_on_cpu(tuning: Tuning, *, is_packed: bool) -> AdaptersOnCPU:
    """Return who computes the adapters' products on a CPU: we do those of plain ones, where rows are packed."""
    if not tuning.adapts:
        return "none"
    return "ours" if is_packed and tuning.kind == "lora" else "peft"


def dropout_of(tuning: Tuning) -> float:
    """Return the dropout on the inputs of the adapters; 0 without adapters."""
    match tuning:
        case FullFineTune():
            return 0.0
        case LoRA() | QLoRA() | DoRA():
            return tuning.dropout
        case _:
            assert_never(tuning)
