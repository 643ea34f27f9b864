"""Devices: one table for training, serving and the providers that rent them out. Data, each row with its source."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

from ftsdk.errors import SpecError
from ftsdk.spec.base import nearest

__all__ = ["Device", "cpu_device", "find_device", "has_speed", "known_devices"]


@dataclass(frozen=True, kw_only=True)
class Device:
    """What one device can do."""

    name: str
    """As in the price book."""
    family: str
    """Devices of one family share their efficiency, such as `ampere`."""
    peak_tflops: float | None
    """Dense bfloat16 products with 32-bit accumulation; None: no source has it, so time can't be predicted."""
    fp8_tflops: float | None = None
    """Dense 8-bit products; None: it has none, or no source has it."""
    bandwidth_gb_per_s: float
    """Bandwidth of its memory; GB are 1e9 bytes."""
    memory_gib: float | None
    link_gb_per_s: float
    """Bandwidth between devices, both directions together."""
    efficiency: float
    """Share of the peak that large products reach in training."""
    rows: int
    """Published runs behind the efficiency; 0: taken from a relative."""
    source: str
    has_bfloat16: bool = True
    """Products in bfloat16 are native; the peak is that of float16 where they aren't."""


def known_devices() -> tuple[Device, ...]:
    """Return the known devices."""
    return _table()


def find_device(name: str) -> Device:
    """Find a device by a name such as `A100-80GB`, `a100`, `H100` or the driver's `NVIDIA H100 80GB HBM3`.

    Raises:
        SpecError: Not known; names the nearest.
    """
    found = _matching(name)
    if found is None:
        raise SpecError(f"no device {name!r} is known{nearest(name, {device.name for device in known_devices()})}")
    return found


def has_speed(name: str) -> bool:
    """Return whether the device and its peak are known."""
    found = _matching(name)
    return found is not None and found.peak_tflops is not None


def cpu_device(*, cores: int, memory_gib: float | None, name: str = "CPU", has_bfloat16: bool = False) -> Device:
    """Return a CPU described by its threads, two of which are a core, at 3 GHz.

    32 operations a cycle, 128 in bfloat16. Rough; calibrate it.

    Args:
        cores: Threads, as the system counts them.
        memory_gib: Memory of the machine, in GiB.
        name: Display name.
        has_bfloat16: Whether products in bfloat16 are native.
    """
    return Device(
        name=name,
        family="cpu",
        peak_tflops=cores / 2 * (0.384 if has_bfloat16 else 0.096),
        bandwidth_gb_per_s=15.0 * max(1.0, math.sqrt(cores)),
        memory_gib=memory_gib,
        link_gb_per_s=10.0,
        # Of the operations of a step by what the rule allows, for SmolLM2-135M: 0.65 to 0.9 in bfloat16 on a CPU with
        # AVX-512 whose threads are cores (ours, one thread, 2026-11-28), 0.6 in float32 on an older one with AVX2 (a
        # prototype of ours, two threads, 2026-11-27).
        efficiency=0.75,
        rows=0,
        source=(
            f"a rule of thumb: threads / 2 x {128 if has_bfloat16 else 32} operations x 3 GHz, of which 75%; `ftsdk "
            "calibrate` measures it"
        ),
        has_bfloat16=has_bfloat16,
    )


def _matching(name: str) -> Device | None:
    words = re.sub(r"^(nvidia)?(geforce|tesla)?", "", _plain(name))
    # `A100-SXM4-80GB`: the 4 isn't part of the size.
    size = re.search(r"(?<!\d)(\d+)\s*GB", name, re.IGNORECASE)
    scored = [
        (score, device)
        for device in known_devices()
        if (score := _score(words, float(size.group(1)) if size else None, device))
    ]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def _score(words: str, size: float | None, device: Device) -> int:
    """Return how well a written name fits a device's: 0 is not at all."""
    name = device.name
    if words == _plain(name):
        return 1000
    kind, _, variant = name.rpartition("-") if re.search(r"-(\d+GB|PCIe)$", name) else (name, "", "")
    model, suffix = _plain(kind), _plain(variant)
    if not words.startswith(model):
        return 0
    rest = words[len(model) :]
    # `L40S` isn't an L4, and `A100` isn't an A10; a form such as SXM4, a size or the driver's own words may follow.
    if not re.fullmatch(r"(?:(?:gpu|sxm\d?|hbm\d?e?|pcie|nvl|generation|blackwell|serveredition)|\d+gb)*", rest):
        return 0
    if size is not None and size != device.memory_gib:
        return 0
    if suffix == "pcie":
        return 200 if "pcie" in rest else 0
    # Of several sizes the larger is meant: `A100` is sold with 80 GB more often than with 40.
    return 100 + (int(suffix[:-2]) if suffix.endswith("gb") else 0)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


@functools.cache
def _table() -> tuple[Device, ...]:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data: dict[str, Any] = yaml.load(
        (resources.files("ftsdk.cost.facts") / "devices.yaml").read_text(encoding="utf-8"), Loader=loader
    )
    shares = {row["family"]: row for row in cast("list[dict[str, Any]]", data["efficiencies"])}
    return tuple(
        Device(**row, efficiency=shares[row["family"]]["share"], rows=shares[row["family"]]["rows"])
        for row in cast("list[dict[str, Any]]", data["devices"])
    )
