"""Devices and the fitted constants of the time and memory models: data, read once, each with its source."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any, cast

from ftsdk.errors import SpecError
from ftsdk.spec.base import nearest

__all__ = [
    "Device",
    "MemoryConstants",
    "Spreads",
    "TermSpread",
    "TimeConstants",
    "cpu_device",
    "find_device",
    "is_known",
    "known_devices",
    "memory_constants",
    "time_constants",
]


@dataclass(frozen=True, kw_only=True)
class Device:
    """What one device can do."""

    name: str
    family: str
    """What its efficiency is known by, such as `ampere`."""
    peak_tflops: float
    """Dense bfloat16 products with 32-bit accumulation."""
    bandwidth_gb_per_s: float
    """Of its memory; GB are 1e9 bytes."""
    memory_gib: float | None
    link_gb_per_s: float
    """Between devices, both ways together."""
    efficiency: float
    """Share of the peak that large products reach."""
    rows: int
    """Published runs behind the efficiency; 0: taken from a relative."""
    source: str
    host_factor: float = 1.0
    """How much longer the host takes to start kernels than in the published runs."""


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
    """How far the time is off, by what is known."""

    same_stack: TermSpread
    """Software and device are among the published runs."""
    new_stack: TermSpread
    """They aren't: the usual case."""
    unknown_device: float
    """Added where no published run has the family of the device."""
    unknown_cpu: float
    """Added for a CPU, whose speed is a rule of thumb."""


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
    context_gb: float
    """The CUDA context and fragmentation, in GB."""
    spread: float
    """Standard deviation of log(measured / predicted)."""
    varying_factor: float = 1.0
    """On what grows with the tokens of a micro-batch, as measured."""
    is_measured: bool = False
    """The spread is that of a measurement on the device itself."""


def time_constants() -> TimeConstants:
    """Give the constants of the time model."""
    return _book().time


def memory_constants() -> MemoryConstants:
    """Give the constants of the memory model."""
    return _book().memory


def known_devices() -> tuple[Device, ...]:
    """List the devices that are known."""
    return _book().devices


def find_device(name: str) -> Device:
    """Find a device by a name such as `A100-80GB`, `a100`, `H100` or the driver's `NVIDIA H100 80GB HBM3`.

    Raises:
        SpecError: Not known; names the nearest.
    """
    found = _matching(name)
    if found is None:
        raise SpecError(f"no device {name!r} is known{nearest(name, {device.name for device in known_devices()})}")
    return found


def is_known(name: str) -> bool:
    """Is there such a device?"""
    return _matching(name) is not None


def cpu_device(*, cores: int, memory_gib: float | None, name: str = "CPU", has_bfloat16: bool = False) -> Device:
    """Describe a CPU from its threads, two of which are a core: 32 operations a cycle at 3 GHz (AVX2), twice that in bfloat16. Rough; calibrate it.

    Args:
        cores: Threads, as the system counts them.
        memory_gib: Of the machine.
        name: For people.
        has_bfloat16: Its products in bfloat16 are native.
    """
    return Device(
        name=name,
        family="cpu",
        peak_tflops=cores / 2 * (0.192 if has_bfloat16 else 0.096),
        bandwidth_gb_per_s=15.0 * max(1.0, math.sqrt(cores)),
        memory_gib=memory_gib,
        link_gb_per_s=10.0,
        # Between a fifth and a half of the peak is what libraries reach on the narrow products of small models.
        efficiency=0.3,
        rows=0,
        source="a rule of thumb: threads / 2 x 32 operations x 3 GHz, of which 30 %; `ftsdk calibrate` measures it",
    )


def _matching(name: str) -> Device | None:
    words = re.sub(r"^(nvidia)?(geforce|tesla)?", "", _plain(name))
    # `A100-SXM4-80GB`: the 4 isn't part of the size.
    size = re.search(r"(?<!\d)(\d+)\s*GB", name, re.IGNORECASE)
    scored = [(score, device) for device in known_devices() if (score := _score(words, size.group(1) if size else None, device.name))]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def _score(words: str, size: str | None, name: str) -> int:
    """How well a written name fits a device's: 0 is not at all."""
    if words == _plain(name):
        return 1000
    kind, _, variant = name.rpartition("-") if re.search(r"-(\d+GB|PCIe)$", name) else (name, "", "")
    model, suffix = _plain(kind), _plain(variant)
    if not words.startswith(model):
        return 0
    rest = words[len(model) :]
    # `L40S` isn't an L4, and `A100` isn't an A10; a form such as SXM4 or a size may follow.
    if not re.fullmatch(r"(?:(?:gpu|sxm\d?|hbm\d?e?|pcie|nvl|laptop)|\d+gb)*", rest) or "laptop" in rest:
        return 0
    if suffix.endswith("gb") and size is not None and f"{size}gb" != suffix:
        return 0
    if suffix == "pcie":
        return 200 if "pcie" in rest else 0
    # Of several sizes the larger is meant: `A100` is sold with 80 GB more often than with 40.
    return 100 + (int(suffix[:-2]) if suffix.endswith("gb") else 0)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


@dataclass(frozen=True)
class _Book:
    devices: tuple[Device, ...]
    time: TimeConstants
    memory: MemoryConstants


@functools.cache
def _book() -> _Book:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data: dict[str, Any] = yaml.load((resources.files("ftsdk.cost.facts") / "hardware.yaml").read_text(encoding="utf-8"), Loader=loader)
    shares = {row["family"]: row for row in cast("list[dict[str, Any]]", data["efficiencies"])}
    devices = tuple(
        Device(**row, efficiency=shares[row["family"]]["share"], rows=shares[row["family"]]["rows"])
        for row in cast("list[dict[str, Any]]", data["devices"])
    )
    spreads = cast("dict[str, Any]", data["time"].pop("spreads"))
    unknown_device, unknown_cpu = (float(spreads.pop(name)) for name in ("unknown_device", "unknown_cpu"))
    terms = {name: TermSpread(**row) for name, row in spreads.items()}
    time = {**data["time"], "spreads": Spreads(unknown_device=unknown_device, unknown_cpu=unknown_cpu, **terms)}
    return _Book(devices, _constants(TimeConstants, time), _constants(MemoryConstants, data["memory"]))


def _constants(kind: Any, row: dict[str, Any]) -> Any:
    names = {field.name for field in fields(kind)}
    return kind(**{name: str(value) if name == "as_of" else value for name, value in row.items() if name in names})
