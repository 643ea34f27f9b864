"""What a sharded training is planned as, and what isn't sharded. Pure: nothing here loads torch."""

from __future__ import annotations

from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.errors import Gap
from ftsdk.spec import JobSpec

__all__ = ["sharding_gaps", "sharding_notes"]

_METHODS = ("sft", "orpo", "simpo")
"""Those whose sharded training was held against one process: see `tests/unit/backends/trainers/trl/sharding`."""


def sharding_gaps(spec: JobSpec, hardware: Hardware) -> list[Gap]:
    """Return what of a job can't be sharded: what has been trained so, or can't be."""
    gaps: list[Gap] = []
    if spec.method.kind not in _METHODS:
        gaps.append(
            Gap(
                "method",
                spec.method.kind,
                _METHODS,
                "a method with a reference model isn't sharded; leave out sharding, or choose a method without one",
            )
        )
    if spec.tuning.quantizes:
        gaps.append(
            Gap(
                "tuning",
                spec.tuning.kind,
                ("lora", "dora", "full"),
                "4-bit weights aren't sharded: accelerate leaves them whole on each device",
            )
        )
    if spec.dtype == "float16" or (spec.dtype is None and hardware.device == "cuda" and not hardware.has_bfloat16):
        gaps.append(
            Gap(
                "dtype",
                spec.dtype or "float16",
                ("bfloat16", "float32"),
                f"the loss isn't scaled in a sharded training, which float16 on {hardware.name} needs",
            )
        )
    return gaps


def sharding_notes(spec: JobSpec, hardware: Hardware) -> list[str]:
    """Return what a user should know of a sharded training before it starts."""
    if hardware.sharding == "none":
        return []
    what = (
        "weights, gradients and optimizer states are" if not spec.tuning.adapts else "frozen weights and adapters are"
    )
    notes = [
        f"{what} spread over {hardware.processes} processes (FSDP2), activations aren't: a shorter max_length= or a "
        "smaller micro-batch saves those. Each layer's weights are gathered for its forward and its backward pass, "
        "so the link between devices counts"
    ]
    if hardware.device == "cuda":
        notes.append("ftsdk's sharded training was never run on GPUs, only with Gloo on CPUs; try a short run first")
    return notes
