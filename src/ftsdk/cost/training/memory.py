"""Peak memory of one device while training, and whether it fits.

Pure: each term is something held in memory at the peak.

Weights, moments of the optimizer and the CUDA context are held throughout. On top of them come, at the loss, what the
layers keep and the logits; in the backward pass of a layer, what the layers keep and the layer at work; in the
optimizer's step, the gradients and what the step copies. The largest of the three is the peak, since a CUDA allocator
hands on what was freed. The worst step is that of the micro-batch with the longest rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from ftsdk.cost.facts.formats import WeightFormat, bytes_per_weight
from ftsdk.cost.facts.shapes import Shape
from ftsdk.cost.training.constants import MemoryConstants, memory_constants
from ftsdk.cost.training.ranges import Z80
from ftsdk.cost.training.step_time import Tuning

__all__ = [
    "AdaptersOnCPU",
    "Loss",
    "Optimizer",
    "PeakMemory",
    "TrainingMemory",
    "Verdict",
    "adapter_inputs_on",
    "adapter_parameters",
    "adapter_parameters_on",
    "largest_batch",
    "layer_bytes_on_cpu",
    "peak_memory",
    "verdict",
]

AdaptersOnCPU = Literal["none", "ours", "peft"]
"""Who computes the products of adapters: nobody, the step of packed rows, or peft."""
Verdict = Literal["fits", "tight", "no"]
Optimizer = Literal["adam", "adam_fused", "adam8bit", "paged", "deepspeed"]
"""`adam` is PyTorch's default, which copies the parameters in its step; `paged` holds its moments on the host."""
Loss = Literal["whole", "half", "chunked", "fused"]
"""How logits are held: all of them in 32 bits, all in 16 bits without a 32-bit copy, all in 16 bits with 32-bit copies
of a part at a time, or never whole (as in TRL 1.16, Liger and cut cross-entropy)."""


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """What is trained, and how: the input of the memory model."""

    longest_tokens: float
    """Tokens of the micro-batch with the longest rows, padding included."""
    tuning: Tuning
    recomputes: bool
    rank: int = 16
    adapted: float | None = None
    """Parameters of the adapters; None: adapters on every linear layer, from the rank."""
    input_width: float | None = None
    """Inputs of the adapted layers of one block, summed; None: of all seven linear layers."""
    has_dropout: bool = False
    """Adapters keep their inputs after dropout, and its mask."""
    casts_inputs: bool = False
    """Adapters keep their inputs in 32 bits, as peft does outside of autocast."""
    upcasts: bool = False
    """Embeddings, head and the values between layers are held in 32 bits, as `prepare_model_for_kbit_training` does."""
    frozen_format: WeightFormat | None = None
    """Format of frozen weights; None: 4 bits for QLoRA, else `weight_bytes` each. Embeddings and head stay as wide as
    `weight_bytes`."""
    double_quantization: bool = True
    dequantises_layers: bool = False
    """Every 16-bit copy of a layer's weights is kept for its backward pass, as GPTQ's kernels do."""
    weight_bytes: float = 2.0
    """Bytes of a weight that isn't quantised: 2 for bfloat16, 4 for float32."""
    optimizer: Optimizer = "adam"
    steps_in_backward: bool = False
    """The optimizer steps inside the backward pass, so that only the largest gradient is held."""
    state_bytes: float | None = None
    """Bytes for each parameter of the adapters, its weight included: gradient and moments; None: all in 32 bits."""
    loss: Loss = "whole"
    offloads_activations: bool = False
    is_compiled: bool = False
    """Fused kernels keep fewer of the values in between."""
    offloads_weights: bool = False
    """Weights at rest are held in the host's memory."""
    shards: int = 1
    """Devices over which weights and states are spread."""
    layer_bytes: float | None = None
    """Bytes that one token leaves in one layer until the backward pass; None: counted."""
    reuses_memory: bool = True
    """What one moment of a step has freed serves the next, as on CUDA; the heap of a CPU holds them all."""
    projected_share: float = 1.0
    """Share of the tokens whose logits are computed."""
    counts_context: bool = True
    """Whether the CUDA context counts, which PyTorch's own numbers leave out."""


@dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """Bytes, by what they are for."""

    weights: float
    states: float
    activations: float
    logits: float
    context: float
    spread: float

    @property
    def fixed(self) -> float:
        """Bytes that don't depend on the rows."""
        return self.weights + self.states + self.context

    @property
    def varying(self) -> float:
        """Bytes that grow with the tokens of a micro-batch."""
        return self.activations + self.logits

    @property
    def likely(self) -> float:
        """Bytes in all."""
        return self.fixed + self.varying

    @property
    def low(self) -> float:
        """Lower end of the 80% interval, in bytes."""
        return self.likely * math.exp(-Z80 * self.spread)

    @property
    def high(self) -> float:
        """Upper end of the 80% interval, in bytes."""
        return self.likely * math.exp(Z80 * self.spread)


def adapter_parameters(shape: Shape, rank: int) -> float:
    """Return the parameters of adapters on all linear layers, as in the published runs.

    One for queries, keys and values together.
    """
    return float(rank * shape.layers * (7 * shape.width + 3 * (shape.width + shape.inner) - shape.width))


def adapter_parameters_on(shape: Shape, rank: int, targets: Sequence[str] | None) -> float:
    """Return the parameters of adapters by layer: rank x (inputs + outputs) of each linear layer that gets one.

    Args:
        shape: The model, taken as one of the Llama family.
        rank: Rank of the adapters.
        targets: Names of linear layers such as `q_proj`; None: all.
    """
    width, inner, narrow = shape.width, shape.inner, shape.key_width
    sizes = {
        "q_proj": 2 * width,
        "k_proj": width + narrow,
        "v_proj": width + narrow,
        "o_proj": 2 * width,
        "gate_proj": width + inner,
        "up_proj": width + inner,
        "down_proj": width + inner,
    }
    total = sum(sizes.values()) if targets is None else sum(sizes.get(name, 2 * width) for name in targets)
    return float(rank * shape.layers * total)


def adapter_inputs_on(shape: Shape, targets: Sequence[str] | None) -> float:
    """Return the summed widths of the inputs of one block's linear layers that get adapters.

    Args:
        shape: The model, taken as one of the Llama family.
        targets: Names of linear layers such as `q_proj`; None: all.
    """
    names = (
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj") if targets is None else targets
    )
    return float(sum(shape.inner if name == "down_proj" else shape.width for name in names))


def layer_bytes_on_cpu(shape: Shape, *, adapters: AdaptersOnCPU, has_dropout: bool) -> float:
    """Return the bytes that one token keeps in one layer of a model that is trained on a CPU.

    Norms in 32 bits, queries, keys, values and answers of the attention, the MLP's gate and products in 16 bits: 20 x
    width + 6 x inner. An adapter of peft's keeps its input in 32 bits, and with dropout its mask as well; ours keep
    nothing but the mask, in 16 bits, once for the layers that read the same input. The heap holds two fifths more.

    Source: counted from what PyTorch's operations save, and held against SmolLM2-135M (torch 2.13, peft 0.21): with
    full fine-tuning 0.6 to 1.3 MB a token (0.9 by this count), with peft's adapters and dropout 2.6 (2.5), without
    dropout 1.7 (1.7), all on 2026-11-24; with ours, packed and without dropout, 0.85 (0.87) on 2026-11-28.

    Args:
        shape: The model.
        adapters: Who computes the adapters' products, if there are any.
        has_dropout: Whether adapters drop values of their inputs.
    """
    width, inner = shape.width, shape.inner
    match adapters:
        case "none":
            kept = 0
        case "ours":
            kept = 2 * (3 * width + inner) if has_dropout else 0
        case "peft":
            kept = (8 if has_dropout else 4) * (6 * width + inner)
        case _:
            assert_never(adapters)
    return 1.4 * (20 * width + 6 * inner + kept)


def peak_memory(memory: TrainingMemory, shape: Shape, constants: MemoryConstants | None = None) -> PeakMemory:
    """Predict the peak on one device.

    Args:
        memory: What is trained, and how.
        shape: The model.
        constants: Of the model of memory; None: the packaged ones.

    Source: the EleutherAI calculator (bytes per trained parameter), https://arxiv.org/abs/2205.05198 (activations),
    `ftsdk.cost.facts.formats` (weights), and PyTorch's documentation of AdamW (`foreach` takes the size of the
    parameters on top).
    """
    c = constants or memory_constants()
    weights, whole = _weights(memory, shape)
    moments, gradients, copies = _states(memory, shape)
    if memory.shards > 1:
        weights = (0.0 if memory.offloads_weights else weights / memory.shards) + whole
        moments, gradients, copies = (part / memory.shards for part in (moments, gradients, copies))
    kept, layer = _activations(memory, shape, c)
    logits = _logits(memory, shape, c)
    if not memory.reuses_memory:
        states, activations = moments + gradients, kept + layer
    else:
        kept, layer, logits = ((1 + c.fragmentation) * part for part in (kept, layer, logits))
        states, activations = moments, kept
        if layer > logits:
            activations, logits = kept + layer, 0.0
        live = layer if memory.recomputes else kept / shape.layers
        stepping = gradients + max(live, copies)
        if stepping > activations + logits:
            states, activations, logits = moments + stepping, 0.0, 0.0
    return PeakMemory(
        weights=weights,
        states=states,
        activations=activations * c.varying_factor,
        logits=logits * c.varying_factor,
        context=c.context_gb * 1e9 if memory.counts_context else 0.0,
        spread=_spread(memory, shape, c, fixed=weights + states, varying=activations + logits),
    )


def verdict(peak: PeakMemory, memory_gib: float) -> Verdict:
    """Return whether a peak fits into a memory.

    `fits` only with a margin of error, `no` if the likely peak is larger.
    """
    there = memory_gib * 2**30
    needed = peak.likely * math.exp(1.6449 * peak.spread)  # the upper end of the 90% interval
    return "fits" if needed <= there else "tight" if peak.likely <= there else "no"


def largest_batch(
    memory: TrainingMemory,
    shape: Shape,
    memory_gib: float,
    *,
    row_tokens: float,
    limit: int = 4096,
    constants: MemoryConstants | None = None,
) -> int:
    """Return the most rows of this length that fit at once with a margin of error; 0 if not even one does."""

    def does(rows: int) -> bool:
        from dataclasses import replace

        return (
            verdict(peak_memory(replace(memory, longest_tokens=rows * row_tokens), shape, constants), memory_gib)
            == "fits"
        )

    if not does(1):
        return 0
    low, high = 1, 2
    while high <= limit and does(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if does(middle) else (low, middle)
    return min(low, limit)


def _weights(memory: TrainingMemory, shape: Shape) -> tuple[float, float]:
    """Return the bytes of all weights, and of those that sharding holds whole: two layers and the embedding."""
    embeddings = min(shape.embedding_parameters, shape.parameters)
    name = memory.frozen_format
    if name is None and memory.tuning == "qlora":
        name = "nf4-double" if memory.double_quantization else "nf4"
    each = memory.weight_bytes if name is None or memory.tuning == "full" else bytes_per_weight(name)
    outside = 4.0 if memory.upcasts else memory.weight_bytes
    whole = 2 * (shape.parameters - embeddings) / shape.layers + embeddings
    return (
        (shape.parameters - embeddings) * each + outside * embeddings,
        memory.weight_bytes * whole * (0.3 if each < memory.weight_bytes else 1.0),
    )


def _states(memory: TrainingMemory, shape: Shape) -> tuple[float, float, float]:
    """Return the bytes of moments, of gradients, and of what the optimizer's step copies.

    Adapters are small: weights, gradients and moments count as one.
    """
    if memory.tuning != "full":
        adapted = memory.adapted if memory.adapted is not None else adapter_parameters(shape, memory.rank)
        # Weights are kept in 32 bits beside 16-bit frozen ones.
        each = {"adam8bit": 10.0, "paged": 8.0}.get(memory.optimizer, 16.0)
        return adapted * (each if memory.state_bytes is None else memory.state_bytes), 0.0, 0.0
    width = memory.weight_bytes
    moments = {"adam8bit": 2.0, "paged": 0.0, "deepspeed": 16.0}.get(memory.optimizer, 2 * width)
    gradients = shape.parameters * (4.0 if memory.optimizer == "deepspeed" else width)
    if memory.steps_in_backward:
        gradients = min(shape.vocabulary * shape.width, shape.parameters) * width
    copies = width if memory.optimizer == "adam" and not memory.steps_in_backward else 0.0
    return shape.parameters * moments, gradients, shape.parameters * copies


def _activations(memory: TrainingMemory, shape: Shape, c: MemoryConstants) -> tuple[float, float]:
    """Return the bytes that layers keep for the backward pass, and that the layer at work holds beside them."""
    tokens, width, inner = memory.longest_tokens, shape.width, shape.inner
    is_wide = memory.upcasts or (memory.tuning == "full" and memory.weight_bytes > 2)
    each = 2.0 * (8 * width + 4 * inner) if memory.layer_bytes is None else memory.layer_bytes
    if memory.layer_bytes is None:
        each *= 2.0 if memory.upcasts else 1.0
        if memory.tuning != "full":
            inputs = 6 * width + inner if memory.input_width is None else memory.input_width
            each += 4 * inputs if memory.casts_inputs and not memory.upcasts else 0.0
            each += (5 if memory.casts_inputs or memory.upcasts else 3) * inputs if memory.has_dropout else 0.0
    layer = tokens * each * (0.75 if memory.is_compiled else 1.0)
    if not memory.recomputes:
        return (0.0 if memory.offloads_activations else layer * shape.layers), 0.0
    if memory.tuning == "qlora" or memory.frozen_format is not None:
        embeddings = min(shape.embedding_parameters, shape.parameters)
        layer += (
            c.dequantised_bytes * (shape.parameters - embeddings) / shape.layers
            if memory.dequantises_layers
            else 2.0 * width * inner
        )
    kept = 0.0 if memory.offloads_activations else (4 if is_wide else 2) * tokens * width * shape.layers
    return kept, layer


def _logits(memory: TrainingMemory, shape: Shape, c: MemoryConstants) -> float:
    tokens = memory.longest_tokens * memory.projected_share
    if memory.loss == "fused":
        return 4 * tokens * shape.width  # the gradient of the last hidden states, in 32 bits
    copies = {"whole": c.logits_copies, "half": c.logits_copies_half, "chunked": c.logits_copies_chunked}[memory.loss]
    return copies * 4 * tokens * shape.vocabulary


def _spread(memory: TrainingMemory, shape: Shape, c: MemoryConstants, *, fixed: float, varying: float) -> float:
    """Return the standard deviation of log(measured / predicted): wider where few published runs are alike."""
    if c.is_measured:
        return c.spread
    # Bytes for each parameter are known; what grows with the tokens is known less well.
    share = varying / (fixed + varying)
    spread = math.hypot(
        (c.spread_quantised if memory.tuning == "qlora" else c.spread) * share, c.spread_fixed * (1 - share)
    )
    if memory.shards > 1:
        spread = max(spread, c.spread_sharded)
    if shape.origin == "size":
        spread = math.hypot(spread, 0.12)
    # What the context and the allocator hold beside is known to within this much, which is a lot for a small model.
    return math.hypot(spread, c.context_spread_gb * 1e9 / (fixed + varying + c.context_gb * 1e9))
