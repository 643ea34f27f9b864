"""GPUs, as far as serving depends on them, and what an engine makes of them."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any, cast

from ftsdk.cost.facts.devices import known_devices
from ftsdk.cost.serving.shapes import Weights
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import nearest

__all__ = ["ServingGpu", "known_gpus", "serving_facts", "serving_gpu"]


class ServingGpu(Value):
    """A device, as far as serving depends on it."""

    name: str
    memory_gib: float
    bandwidth_gb_s: float
    link_gb_s: float
    """Between two of them, both ways together."""
    bf16: float
    """Dense TFLOP/s."""
    fp8: float | None = None
    """Dense TFLOP/s; None: weights in fp8 save memory, but the sums are done in 16 bits."""
    source: str

    @property
    def usable_bytes(self) -> float:
        """What an engine takes of its memory."""
        return self.memory_gib * 2**30 * float(serving_facts()["fit"]["memory_share"])

    def peak_flops(self, weights: Weights) -> float:
        """Dense FLOP/s at the precision in which the sums are done.

        fp4 is taken at the speed of fp8: the fit has no 4-bit runs, and what they gain beyond that isn't known.
        """
        return 1e12 * (self.fp8 if weights in ("fp8", "fp4") and self.fp8 is not None else self.bf16)


def serving_gpu(name: str) -> ServingGpu:
    """Return a GPU by its name in the price book.

    Raises:
        SpecError: Its figures aren't known.
    """
    found = _gpus().get(name)
    if found is None:
        raise SpecError(
            f"no serving figures for the GPU {name!r}{nearest(name, set(_gpus()))}. Give "
            "SelfHosted(requests_per_s_per_replica=...) instead"
        )
    return found


def known_gpus() -> frozenset[str]:
    """The GPUs whose figures are known."""
    return frozenset(_gpus())


@functools.cache
def _gpus() -> dict[str, ServingGpu]:
    """The devices that can serve: in bfloat16, with a known peak."""
    return {
        device.name: ServingGpu(
            name=device.name,
            memory_gib=device.memory_gib,
            bandwidth_gb_s=device.bandwidth_gb_per_s,
            link_gb_s=device.link_gb_per_s,
            bf16=device.peak_tflops,
            fp8=device.fp8_tflops,
            source=device.source,
        )
        for device in known_devices()
        if device.has_bfloat16 and device.memory_gib is not None and device.peak_tflops is not None
    }


@functools.cache
def serving_facts() -> dict[str, Any]:
    """Return the constants that were fitted to published runs, with their sources."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return cast(
        "dict[str, Any]",
        yaml.load((resources.files("ftsdk.cost.serving") / "serving.yaml").read_text(encoding="utf-8"), Loader=loader),
    )
