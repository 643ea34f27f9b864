"""Peak memory of one device while training, and whether it fits.

Pure: each term is something held in memory at the peak.

Weights, what is trained (weights, gradients, the optimizer's two moments), what the backward pass needs, the logits in
32 bits, and the CUDA context. The worst moment is the micro-batch with the longest rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ftsdk.cost.facts.shapes import Shape
from ftsdk.cost.training.constants import MemoryConstants, memory_constants
from ftsdk.cost.training.ranges import Z80
from ftsdk.cost.training.step_time import Tuning

__all__ = [
    "PeakMemory",
    "TrainingMemory",
    "Verdict",
    "adapter_parameters",
    "adapter_parameters_on",
    "largest_batch",
    "layer_bytes_on_cpu",
    "peak_memory",
    "verdict",
]

Verdict = Literal["fits", "tight", "no"]


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
    double_quantization: bool = True
    weight_bytes: float = 2.0
    """Bytes of a weight that isn't quantised: 2 for bfloat16, 4 for float32."""
    optimizer: Literal["adam", "adam8bit", "paged", "deepspeed"] = "adam"
    """`paged`: its moments are held in the host's memory."""
    is_optimizer_fused: bool = False
    """The optimizer steps inside the backward pass, so that gradients are never held all at once."""
    state_bytes: float | None = None
    """Bytes for each trained parameter beside its weight: gradient and moments; None: by tuning and optimizer."""
    has_chunked_logits: bool = False
    """The loss is computed in parts, so that the logits are never held whole."""
    offloads_activations: bool = False
    is_compiled: bool = False
    """Fused kernels keep fewer of the values in between."""
    offloads_weights: bool = False
    """Weights at rest are held in the host's memory."""
    shards: int = 1
    """Devices over which weights and states are spread."""
    layer_bytes: float | None = None
    """Bytes that one token leaves in one layer until the backward pass; None: as in the published runs."""
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
        """Lower end of the 80 % interval, in bytes."""
        return self.likely * math.exp(-Z80 * self.spread)

    @property
    def high(self) -> float:
        """Upper end of the 80 % interval, in bytes."""
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


def layer_bytes_on_cpu(shape: Shape, *, has_adapters: bool, has_dropout: bool) -> float:
    """Return the bytes that one token keeps in one layer of a model that is trained on a CPU, where nothing is fused.

    Norms in 32 bits, queries, keys, values and answers of the attention, the MLP's gate and products in 16 bits: 20 x
    width + 6 x inner. Every adapter keeps its input in 32 bits, and with dropout its mask as well. The heap holds two
    fifths more than that.

    Source: counted from what PyTorch's operations save, and held against SmolLM2-135M on two cores (torch 2.13, peft
    0.21, 2026-11-24): with adapters and dropout 2.6 MB a token (2.5 by this count), with adapters alone 1.7 (1.7), with
    full fine-tuning 0.6 to 1.3 (0.9).
    """
    width, inner = shape.width, shape.inner
    adapters = (8 if has_dropout else 4) * (6 * width + inner) if has_adapters else 0
    return 1.4 * (20 * width + 6 * inner + adapters)


def peak_memory(memory: TrainingMemory, shape: Shape, constants: MemoryConstants | None = None) -> PeakMemory:
    """Predict the peak on one device.

    Args:
        memory: What is trained, and how.
        shape: The model.
        constants: Of the model of memory; None: the packaged ones.

    Source: facts of the EleutherAI calculator (bytes per trained parameter) and https://arxiv.org/abs/2205.05198
    (activations); int4 weights with 8 % for their scales.
    """
    c = constants or memory_constants()
    tokens, width, inner = memory.longest_tokens, shape.width, shape.inner
    is_full = memory.tuning == "full"
    embeddings = min(shape.embedding_parameters, shape.parameters)
    if memory.tuning == "qlora":
        scales = 1.08 if not memory.double_quantization else 1.04
        weights = (shape.parameters - embeddings) * 0.5 * scales + memory.weight_bytes * embeddings
    else:
        weights = memory.weight_bytes * shape.parameters
    trained = (
        shape.parameters
        if is_full
        else memory.adapted
        if memory.adapted is not None
        else adapter_parameters(shape, memory.rank)
    )
    states = trained * (memory.state_bytes if memory.state_bytes is not None else _state_bytes(memory))
    each = 2 * (8 * width + 4 * inner) if memory.layer_bytes is None else memory.layer_bytes
    layer = tokens * each * (0.75 if memory.is_compiled else 1.0)
    kept = 0.0 if memory.offloads_activations else 2 * tokens * width * shape.layers
    activations = kept + layer if memory.recomputes else layer * shape.layers
    logits = (
        (0.3 if memory.has_chunked_logits else c.logits_copies) * 4 * tokens * memory.projected_share * shape.vocabulary
    )
    if memory.shards > 1:
        # The layer at work, the next one and the embedding are held whole.
        whole = 2 * (shape.parameters - embeddings) / shape.layers + embeddings
        weights = (0.0 if memory.offloads_weights else weights / memory.shards) + memory.weight_bytes * whole * (
            0.3 if memory.tuning == "qlora" else 1.0
        )
        states /= memory.shards
    return PeakMemory(
        weights=weights,
        states=states,
        activations=activations * c.varying_factor,
        logits=logits * c.varying_factor,
        context=c.context_gb * 1e9 if memory.counts_context else 0.0,
        spread=_spread(memory, shape, c),
    )


def verdict(peak: PeakMemory, memory_gib: float) -> Verdict:
    """Return whether a peak fits into a memory.

    `fits` only with a margin of error, `no` if the likely peak is larger.
    """
    there = memory_gib * 2**30
    # What is freed and taken again each step is what fragments: published runs that filled their card took a third more
    # of it.
    fragments = 0.1 * (peak.weights + peak.states) + 0.4 * (peak.activations + peak.logits)
    needed = max(peak.likely + fragments, peak.likely * math.exp(1.6449 * peak.spread))
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


def _state_bytes(memory: TrainingMemory) -> float:
    """Gradient and two moments, each as wide as the weight that they are for.

    Adapters are kept in 32 bits beside 16-bit weights.
    """
    if memory.tuning != "full":
        return 16.0
    if memory.optimizer == "deepspeed":
        return 20.0
    moments = {"adam": 2 * memory.weight_bytes, "adam8bit": 2.0, "paged": 0.0}[memory.optimizer]
    return moments + (0.0 if memory.is_optimizer_fused else memory.weight_bytes)


def _spread(memory: TrainingMemory, shape: Shape, c: MemoryConstants) -> float:
    """What is trained by another recipe than the published runs that the constants come from is known less well."""
    spread = c.spread
    if c.is_measured:
        return spread
    if not memory.recomputes or memory.tuning == "full" or memory.has_chunked_logits:
        spread = max(spread, 0.12)
    if memory.shards > 1:
        spread = max(spread, 0.25)
    if shape.origin == "size":
        spread = math.hypot(spread, 0.12)
    return spread
