"""The fitted constants of the time and memory models: data, read once, with what each was fitted to."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any, cast

__all__ = ["MemoryConstants", "Spreads", "TermSpread", "TimeConstants", "memory_constants", "time_constants"]


@dataclass(frozen=True, kw_only=True)
class TermSpread:
    """Standard deviations of log(measured / predicted), by term of the time."""

    products: float
    traffic: float
    dequantise: float
    host: float
    sharding: float
    optimizer: float
    sharded: float
    """Beside all of these, wherever weights are sharded."""


@dataclass(frozen=True, kw_only=True)
class Spreads:
    """Spread of the predicted time, by what is known."""

    same_stack: TermSpread
    """Software and device are among the published runs."""
    new_stack: TermSpread
    """Software or device aren't among the published runs: the usual case."""
    unknown_device: float
    """Added where no published run has the family of the device."""
    unknown_cpu: float
    """Added for a CPU, whose speed is a rule of thumb."""
    slower_qlora: float
    """Added above the likely time of QLoRA on a GPU, whose 4-bit kernels and trainers differ most."""


@dataclass(frozen=True, kw_only=True)
class TimeConstants:
    """The constants of the time model, and how far it is off."""

    source: str
    as_of: str
    overlap: float
    """Exponent of the norm that joins device and host: 1 adds them, infinity takes the slower."""
    launch_ms: float
    """Host time for one layer and pass with adapters, in plain PyTorch."""
    launch_full: float
    """The same without adapters, as a share."""
    launch_compiled: float
    """The same with compiled or fused kernels, as a share."""
    traffic_bytes: float
    """Bytes that the small operations of a layer move, for each token and unit of width, adapters included."""
    traffic_compiled: float
    traffic_full: float
    logits_bytes: float
    """Bytes moved for each token and word of the vocabulary: logits in 32 bits, their softmax, their gradient."""
    width_half: float
    """Width at which products reach half of the efficiency of endlessly wide ones."""
    dequantise_bytes: float
    """Bytes that turning 4-bit weights into 16-bit ones is worth, for each parameter and pass."""
    optimizer_bytes: float
    """Bytes that an optimizer step moves for each trained parameter."""
    deepspeed_bytes: float
    """Bytes that DeepSpeed moves for each trained parameter and micro-step when it adds up gradients."""
    link_share: float
    """Share of the link's speed that sharding reaches."""
    shard_factor: float
    spreads: Spreads
    """How far each term is off."""


@dataclass(frozen=True, kw_only=True)
class MemoryConstants:
    """The constants of the memory model."""

    source: str
    as_of: str
    logits_copies: float
    """How many 32-bit copies of the logits live at once."""
    logits_copies_half: float
    """The same, in 32-bit copies, where the loss is computed in 16 bits."""
    logits_copies_chunked: float
    """The same where 16-bit logits are held whole and turned into 32 bits a part at a time."""
    dequantised_bytes: float
    """Bytes for each parameter of a layer whose 16-bit copies are kept for its backward pass."""
    fragmentation: float
    """Share of activations and logits that the allocator holds beside them."""
    context_gb: float
    """The CUDA context, kernels and workspaces, in GB."""
    context_spread_gb: float
    """How far that differs from one software to the next, in GB: a standard deviation."""
    spread: float
    """Standard deviation of log(measured / predicted) of what grows with the tokens; of all where it was measured."""
    spread_quantised: float = 0.4
    """The same with frozen weights in 4 bits, whose kernels differ most."""
    spread_fixed: float = 0.08
    """The same for weights, gradients and moments."""
    spread_sharded: float = 0.25
    """The same for all of it, at least, where weights are spread over devices."""
    varying_factor: float = 1.0
    """On what grows with the tokens of a micro-batch, as measured."""
    is_measured: bool = False
    """The spread is that of a measurement on the device itself."""


def time_constants() -> TimeConstants:
    """Return the constants of the time model."""
    return _packaged()[0]


def memory_constants() -> MemoryConstants:
    """Return the constants of the memory model."""
    return _packaged()[1]


@functools.cache
def _packaged() -> tuple[TimeConstants, MemoryConstants]:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data: dict[str, Any] = yaml.load(
        (resources.files("ftsdk.cost.training") / "constants.yaml").read_text(encoding="utf-8"), Loader=loader
    )
    spreads = cast("dict[str, Any]", data["time"].pop("spreads"))
    found = Spreads(
        same_stack=TermSpread(**spreads["same_stack"]),
        new_stack=TermSpread(**spreads["new_stack"]),
        unknown_device=float(spreads["unknown_device"]),
        unknown_cpu=float(spreads["unknown_cpu"]),
        slower_qlora=float(spreads["slower_qlora"]),
    )
    time = {**data["time"], "spreads": found}
    return _constants(TimeConstants, time), _constants(MemoryConstants, data["memory"])


def _constants(kind: Any, row: dict[str, Any]) -> Any:
    names = {field.name for field in fields(kind)}
    return kind(**{name: str(value) if name == "as_of" else value for name, value in row.items() if name in names})
