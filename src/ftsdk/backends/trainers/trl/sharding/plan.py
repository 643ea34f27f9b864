"""What a sharded training is planned as, and what isn't sharded. Pure: nothing here loads torch."""

from __future__ import annotations

from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.backends.trainers.trl.methods import SHARDED_KINDS
from ftsdk.errors import Gap
from ftsdk.spec import SFT, JobSpec, LoRA

__all__ = ["sharding_gaps", "sharding_notes"]


def sharding_gaps(spec: JobSpec, hardware: Hardware) -> list[Gap]:
    """Return what of a job can't be sharded: what has been trained so, or can't be."""
    gaps: list[Gap] = []
    if spec.method.kind not in SHARDED_KINDS:
        gaps.append(
            Gap(
                "method",
                spec.method.kind,
                tuple(sorted(SHARDED_KINDS)),
                "a method with a reference model isn't sharded; leave out sharding, or choose a method without one",
            )
        )
    gaps.extend(_never_tried(spec))
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


def _never_tried(spec: JobSpec) -> list[Gap]:
    """Return what of a tuning sets or reads whole weights, of which each process would have a share."""
    gaps: list[Gap] = []
    if spec.tuning.trains_on_answers_alone:
        gaps.append(Gap("tuning", spec.tuning.kind, ("lora", "dora", "full"), f"{spec.tuning.kind} isn't sharded"))
    if isinstance(spec.tuning, LoRA) and spec.tuning.init != "random":
        reason = "a start in the weights is computed from whole ones, and a half of its matrices is put back each step"
        gaps.append(Gap("tuning.init", spec.tuning.init, ("random",), reason))
    if spec.model.add_tokens is not None:
        reason = "single rows of an embedding aren't trained where each process has a share of it"
        gaps.append(Gap("model.add_tokens", spec.model.add_tokens, (), reason))
    if spec.optimizer != "adamw":
        reason = "bitsandbytes updates whole weights, not shares of them"
        gaps.append(Gap("optimizer", spec.optimizer, ("adamw",), reason))
    if isinstance(spec.method, SFT) and spec.method.neftune_alpha is not None:
        reason = "noise on embeddings wasn't tried where each process has a share of them"
        gaps.append(Gap("method.neftune_alpha", spec.method.neftune_alpha, (), reason))
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
