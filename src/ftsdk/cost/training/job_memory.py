"""What a tuning trains and holds in memory, also before rows are counted in tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from ftsdk.cost.facts.shapes import Shape
from ftsdk.cost.training.memory import (
    AdaptersOnCPU,
    Loss,
    Optimizer,
    TrainingMemory,
    adapter_inputs_on,
    adapter_parameters_on,
)
from ftsdk.cost.training.step_time import Tuning as ComputedTuning
from ftsdk.models import ModelFacts
from ftsdk.protocol.workload import Precision
from ftsdk.spec import (
    IA3,
    AnyLoRA,
    DoRA,
    FullFineTune,
    JobSpec,
    LoRA,
    Method,
    OptimizerName,
    PrefixTuning,
    PromptTuning,
    QLoRA,
    Tuning,
)

__all__ = [
    "LONG_ROW_TOKENS",
    "adapter_inputs",
    "adapters_on_cpu",
    "computed_as",
    "dropout_of",
    "long_row",
    "loss_of",
    "memory_of_job",
    "memory_of_tuning",
    "optimizer_of",
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
    return replace(memory, loss=loss_of(spec.method), optimizer=optimizer_of(spec.optimizer))


_OPTIMIZERS: dict[OptimizerName, Optimizer] = {
    "adamw": "adam",
    "adamw_8bit": "adam8bit",
    "paged_adamw": "paged",
    "paged_adamw_8bit": "paged",
}


def optimizer_of(name: OptimizerName) -> Optimizer:
    """Return how the model of memory calls an optimizer; moments that can leave the device don't count."""
    return _OPTIMIZERS[name]


def computed_as(tuning: Tuning) -> ComputedTuning:
    """Return the tuning whose steps take as long: what trains no weight goes through a frozen model as LoRA does."""
    match tuning:
        case FullFineTune() | LoRA() | QLoRA() | DoRA():
            return tuning.kind
        case IA3() | PromptTuning() | PrefixTuning():
            return "lora"
        case _:
            assert_never(tuning)


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
            rank, double_quantization = tuning.held_rank, False
        case IA3() | PromptTuning() | PrefixTuning():
            rank, double_quantization = 1, False
        case _:
            assert_never(tuning)
    return TrainingMemory(
        longest_tokens=longest_tokens,
        tuning=computed_as(tuning),
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
    """Return how many parameters are trained, or held beside those that are.

    All; rank x (inputs + outputs) of each linear layer that has an adapter; a factor for each key, value and MLP
    activation; or, for each position before the rows, an embedding, or the keys and values of every layer.
    """
    match tuning:
        case FullFineTune():
            return shape.parameters
        case LoRA() | QLoRA() | DoRA():
            share = _share_of_blocks(tuning, shape)
            return share * adapter_parameters_on(shape, tuning.held_rank, _names(tuning))
        case IA3():
            return float(shape.layers * (2 * shape.key_width + shape.inner))
        case PromptTuning():
            return float(tuning.virtual_tokens * shape.width)
        case PrefixTuning():
            return float(tuning.virtual_tokens * shape.layers * 2 * shape.key_width)
        case _:
            assert_never(tuning)


def adapter_inputs(tuning: Tuning, shape: Shape) -> float | None:
    """Return the summed widths of the inputs that adapters of one block keep, the mean of all blocks; None without."""
    match tuning:
        case FullFineTune():
            return None
        case LoRA() | QLoRA() | DoRA():
            return _share_of_blocks(tuning, shape) * adapter_inputs_on(shape, _names(tuning))
        case IA3():
            return float(2 * shape.key_width + shape.inner)
        case PromptTuning() | PrefixTuning():
            return 0.0
        case _:
            assert_never(tuning)


def adapters_on_cpu(tuning: Tuning, *, is_packed: bool) -> AdaptersOnCPU:
    """Return who computes the adapters' products on a CPU: we do those of plain ones, where rows are packed."""
    if not tuning.adapts or isinstance(tuning, PromptTuning | PrefixTuning):
        return "none"
    return "ours" if is_packed and tuning.kind == "lora" else "peft"


def dropout_of(tuning: Tuning) -> float:
    """Return the dropout on the inputs of the adapters; 0 without adapters."""
    match tuning:
        case FullFineTune() | IA3() | PromptTuning() | PrefixTuning():
            return 0.0
        case LoRA() | QLoRA() | DoRA():
            return tuning.dropout
        case _:
            assert_never(tuning)


_MOST_BLOCKS = 130
"""As many as the largest open models have."""
_LAYERS = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj"), "self_attn"),
    **dict.fromkeys(("gate_proj", "up_proj", "down_proj"), "mlp"),
}


def _names(tuning: AnyLoRA) -> tuple[str, ...] | None:
    """Return the names of the layers that get adapters in any block, for a model of the Llama family; None: all."""
    targets = tuning.target_modules
    if not isinstance(targets, str):
        return targets
    found = [
        name
        for name, part in _LAYERS.items()
        if any(tuning.targets(f"model.layers.{n}.{part}.{name}") for n in range(_MOST_BLOCKS))
    ]
    # A pattern for a model with other names.
    return tuple(found) or None


def _share_of_blocks(tuning: AnyLoRA, shape: Shape) -> float:
    """Return the share of the blocks that get adapters."""
    if tuning.layers is not None:
        return min(1.0, len(tuning.layers) / shape.layers)
    if not isinstance(tuning.target_modules, str):
        return 1.0
    found = [
        any(tuning.targets(f"model.layers.{n}.{part}.{name}") for name, part in _LAYERS.items())
        for n in range(shape.layers)
    ]
    return (sum(found) or shape.layers) / shape.layers
