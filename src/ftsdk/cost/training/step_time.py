"""How long a training step takes, from the work of device and host in it.

Pure: every term has a reason, and every constant a source.

The device multiplies matrices (operations over a share of its peak), moves what the small operations read and write
(bytes over its bandwidth), turns 4-bit weights into 16-bit ones, and steps the optimizer. Meanwhile the host launches
kernels. The slower of the two counts, and a little of the other. With sharding, weights travel between devices too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ftsdk.cost.facts.devices import Device
from ftsdk.cost.facts.shapes import Shape
from ftsdk.cost.training.constants import TimeConstants, time_constants
from ftsdk.errors import SpecError

__all__ = ["UNMEASURED", "Factors", "MicroStep", "StepTime", "passes_of", "spread_above", "spread_of", "step_time"]

Tuning = Literal["lora", "qlora", "dora", "full"]


@dataclass(frozen=True, kw_only=True)
class MicroStep:
    """One micro-batch on one device, and how it is trained."""

    tokens: float
    """Tokens, padding included: rows of a micro-batch are padded to the longest."""
    row_tokens: float
    """Tokens of one row, which attention spans."""
    tuning: Tuning
    recomputes: bool
    """Activations are computed again in the backward pass (gradient checkpointing)."""
    is_compiled: bool = False
    """Kernels are compiled or fused, as with `torch.compile` or in NeMo; not so in plain PyTorch."""
    accumulation: float = 1
    """Micro-steps for each optimizer step."""
    devices: int = 1
    is_sharded: bool = False
    """Weights are split over the devices (FSDP, ZeRO-3)."""
    tensor_parallel: int = 1
    is_deepspeed: bool = False
    """Gradients are added up by DeepSpeed."""
    reference_passes: float = 0
    """Forward passes without gradients beside the trained one, of the reference model and others: 1 for DPO."""
    projected_share: float = 1.0
    """Share of the tokens that are projected to the vocabulary: all, or only those whose next token is trained."""


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """Seconds of one micro-step on one device, the share of the optimizer's step included."""

    products_s: float
    traffic_s: float
    dequantise_s: float
    host_s: float
    sharding_s: float
    optimizer_s: float
    overlap: float
    """Exponent of the norm that joins device and host."""
    total_s: float

    @property
    def device_s(self) -> float:
        """Seconds of the device, the optimizer left out."""
        return self.products_s + self.traffic_s + self.dequantise_s


@dataclass(frozen=True, kw_only=True)
class Factors:
    """Measured over predicted time of each part; 1 without a measurement."""

    device: float = 1.0
    host: float = 1.0
    optimizer: float = 1.0


UNMEASURED = Factors()


def passes_of(step: MicroStep) -> float:
    """Return the passes over the layers.

    Forward, gradients of activations and of all weights, and a second forward to recompute.

    Adapters need hardly any gradients of weights. Source: https://github.com/mosaicml/llm-foundry,
    scripts/train/benchmarking/README.md.
    """
    return (3 if step.tuning == "full" else 2) + (1 if step.recomputes else 0) + step.reference_passes


def step_time(
    step: MicroStep,
    shape: Shape,
    device: Device,
    constants: TimeConstants | None = None,
    *,
    factors: Factors = UNMEASURED,
) -> StepTime:
    """Predict a micro-step.

    Args:
        step: The micro-batch.
        shape: The model.
        device: The device.
        constants: Constants of the time model; None: the packaged ones.
        factors: Factors measured on the device.

    Raises:
        SpecError: The device's peak isn't known.
    """
    if device.peak_tflops is None:
        raise SpecError(
            f"no source has the dense bfloat16 peak of {device.name}, so its time can't be predicted; name another "
            "device"
        )
    c = constants or time_constants()
    passes, split = passes_of(step), step.tensor_parallel
    peak, bandwidth = device.peak_tflops * 1e12, device.bandwidth_gb_per_s * 1e9
    is_full, is_quantised = step.tuning == "full", step.tuning == "qlora"
    dora = 1.3 if step.tuning == "dora" else 1.0  # the norm of every column, each pass (measured: 0.84 of LoRA's speed)
    width, layers, tokens = shape.width, shape.layers, step.tokens

    # Causal attention: half of the square. Narrow models fill the tiles of a GPU's product badly.
    narrow = 1.0 if device.family == "cpu" else 1 + c.width_half / width
    head = min(shape.vocabulary * width, shape.matmul_parameters)
    multiplied = shape.matmul_parameters - head * (1 - step.projected_share)
    operations = passes * (2 * multiplied + 2 * layers * width * step.row_tokens) * tokens
    products = shape.slowdown * operations / split / (peak * device.efficiency) * narrow

    small = (
        c.traffic_bytes
        * dora
        * (c.traffic_compiled if step.is_compiled else 1.0)
        * (c.traffic_full if is_full else 1.0)
    )
    traffic = passes * layers * width * tokens * small
    traffic += step.projected_share * tokens * shape.vocabulary * c.logits_bytes * (0.4 if step.is_compiled else 1.0)
    traffic += passes * 2 * shape.matmul_parameters * (0.25 if is_quantised else 1.0)
    traffic_s = shape.slowdown * traffic / split / bandwidth
    dequantise = passes * shape.matmul_parameters * c.dequantise_bytes / split / bandwidth if is_quantised else 0.0

    launch = c.launch_ms * dora * (c.launch_compiled if step.is_compiled else 1.0) * (c.launch_full if is_full else 1.0)
    host = passes * layers * launch / 1000

    optimizer = 0.0
    if is_full:
        moved = c.optimizer_bytes / step.accumulation + (
            c.deepspeed_bytes if step.is_deepspeed and step.accumulation > 1 else 0.0
        )
        optimizer = shape.parameters * moved / bandwidth / (step.devices if step.is_sharded else 1)

    products, traffic_s, dequantise = products * factors.device, traffic_s * factors.device, dequantise * factors.device
    host, optimizer = host * factors.host, optimizer * factors.optimizer
    # A CPU starts its kernels itself: it does one or the other.
    overlap = 1.0 if device.family == "cpu" else c.overlap
    busy = _either(products + traffic_s + dequantise, host, overlap)
    sharding = _sharding_s(step, shape, device, c)
    if step.is_sharded:
        busy = _either(busy, sharding, c.overlap) * c.shard_factor
    return StepTime(
        products_s=products,
        traffic_s=traffic_s,
        dequantise_s=dequantise,
        host_s=host,
        sharding_s=sharding,
        optimizer_s=optimizer,
        overlap=overlap,
        total_s=busy + optimizer,
    )


def spread_of(
    step: MicroStep,
    time: StepTime,
    device: Device,
    *,
    known: Literal["new_stack", "same_stack"] = "new_stack",
    constants: TimeConstants | None = None,
) -> float:
    """Return the standard deviation of log(measured / predicted).

    Each term contributes its own, by its share of the time.

    Long rows on a known device are bound by products, which are known well; short ones by the host and by
    dequantisation, which differ from one software to the next.

    Args:
        step: The micro-batch.
        time: The result of `step_time`.
        device: The device.
        known: `new_stack`: nothing but the device's data sheet; `same_stack`: the software is among the published runs.
        constants: Constants of the time model; None: the packaged ones.
    """
    c = constants or time_constants()
    spreads = c.spreads.same_stack if known == "same_stack" else c.spreads.new_stack
    busy = time.device_s
    shares: list[tuple[float, float]] = []
    of_device, of_host = _shares(busy, time.host_s, time.overlap)
    joined = _either(busy, time.host_s, time.overlap)
    of_step, of_sharding = _shares(joined, time.sharding_s, c.overlap) if step.is_sharded else (1.0, 0.0)
    of_rest = 1 - time.optimizer_s / time.total_s
    inner = of_rest * of_step * of_device / busy
    shares += [
        (inner * time.products_s, spreads.products),
        (inner * time.traffic_s, spreads.traffic),
        (inner * time.dequantise_s, spreads.dequantise),
    ]
    shares += [
        (of_rest * of_step * of_host, spreads.host),
        (of_rest * of_sharding, spreads.sharding),
        (1 - of_rest, spreads.optimizer),
    ]
    if step.is_sharded:
        shares.append((1.0, spreads.sharded))
    if device.rows == 0:
        shares.append((1.0, c.spreads.unknown_cpu if device.family == "cpu" else c.spreads.unknown_device))
    return math.sqrt(sum((share * spread) ** 2 for share, spread in shares))


def spread_above(step: MicroStep, device: Device, spread: float, constants: TimeConstants | None = None) -> float:
    """Return the spread above the prediction, where nothing was measured on the device.

    It is wider than below for QLoRA on a GPU: some software takes several times as long, and none is much faster.

    Args:
        step: The micro-batch.
        device: The device.
        spread: The result of `spread_of`.
        constants: Constants of the time model; None: the packaged ones.
    """
    if step.tuning != "qlora" or device.family == "cpu":
        return spread
    return math.hypot(spread, (constants or time_constants()).spreads.slower_qlora)


def _shares(one: float, other: float, exponent: float) -> tuple[float, float]:
    """Return the change of the time of two that overlap with each of them."""
    both = one**exponent + other**exponent
    return one**exponent / both, other**exponent / both


def _sharding_s(step: MicroStep, shape: Shape, device: Device, c: TimeConstants) -> float:
    """Time in which pieces travel: gathered for the forward and for the backward pass.

    Gradients of full fine-tuning scattered once.
    """
    if not step.is_sharded and step.tensor_parallel == 1:
        return 0.0
    pieces = step.devices / step.tensor_parallel
    speed = device.link_gb_per_s * 1e9 * c.link_share
    seconds = 0.0
    if step.is_sharded and pieces > 1:
        bytes_each = 0.55 if step.tuning == "qlora" else 2.0
        moved = 2 * bytes_each * shape.parameters / step.tensor_parallel + (
            2 * shape.parameters if step.tuning == "full" else 0
        )
        seconds += moved * (pieces - 1) / pieces / speed
    if step.tensor_parallel > 1:
        # Two sums of activations for each layer and pass.
        seconds += passes_of(step) * 2 * shape.layers * step.tokens * shape.width * 2 / speed
    return seconds


def _either(one: float, other: float, exponent: float) -> float:
    """Return the time of two that overlap."""
    return (one**exponent + other**exponent) ** (1 / exponent)
