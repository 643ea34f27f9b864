"""What a private training is refused with, and what it chooses. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.backends.trainers.trl.privacy.accounting import noise_multiplier_for
from ftsdk.errors import Gap
from ftsdk.spec import SFT, JobSpec, Privacy

__all__ = ["UNPROTECTED", "choose_noise", "privacy_of", "private_gaps"]

UNPROTECTED = (
    "privacy protects the weights. The run's log isn't protected: each step's loss, and any validation loss, is "
    "computed from the rows as they are",
    "privacy is promised for one training. Choosing among several by what they learned from the same rows spends more",
)
"""What somebody might take for protected."""


def privacy_of(spec: JobSpec) -> Privacy | None:
    """Return what privacy a job asks for."""
    return spec.method.privacy if isinstance(spec.method, SFT) else None


def private_gaps(spec: JobSpec, privacy: Privacy, hardware: Hardware) -> Iterator[Gap]:
    """Yield a gap for everything that private training can't have."""
    rows = spec.train.training_sequences
    if privacy.delta >= 1 / spec.train.rows:
        yield Gap(
            "method.privacy.delta",
            privacy.delta,
            (float(f"{0.1 / spec.train.rows:.0e}"),),
            f"with {spec.train.rows:,} rows, publishing one of them keeps a delta of {1 / spec.train.rows:.2g} or more",
        )
    if spec.tuning.kind != "lora":
        yield Gap("tuning", spec.tuning.kind, ("lora",), "gradients of single rows are taken of LoRA's matrices only")
    if spec.early_stopping is not None:
        yield Gap(
            "early_stopping", "set", (None,), "weights that are chosen by their loss on private rows spend more privacy"
        )
    if spec.max_grad_norm is not None:
        yield Gap(
            "max_grad_norm", spec.max_grad_norm, (None,), "each row's gradient is clipped: method.privacy.max_grad_norm"
        )
    if spec.dtype == "float16":
        yield Gap(
            "dtype", "float16", ("bfloat16", "float32"), "float16 scales the loss, so that clipping bounds nothing"
        )
    if spec.packing:
        yield Gap("packing", True, (False,), "rows that are packed into one sequence share a gradient")
    if hardware.processes > 1:
        yield Gap(
            "method.privacy",
            "set",
            (),
            f"it trains in one process, and the backend plans {hardware.processes}; ask it for one device",
        )
    if isinstance(spec.method, SFT) and spec.method.neftune_alpha is not None:
        yield Gap(
            "method.neftune_alpha",
            spec.method.neftune_alpha,
            (None,),
            "its noise depends on the longest row of a batch",
        )
    if spec.model.add_tokens:
        yield Gap(
            "model.add_tokens", spec.model.add_tokens, (), "gradients of single rows are taken of LoRA's matrices only"
        )
    if spec.optimizer != "adamw":
        yield Gap("optimizer", spec.optimizer, ("adamw",), "not tested on private gradients")
    if spec.model.adapter is not None:
        yield Gap(
            "model.adapter",
            spec.model.adapter,
            (None,),
            "what an adapter has learned before isn't accounted for; train privately from a base model",
        )
    if rows > spec.train.rows:
        yield Gap(
            "method.privacy",
            "set",
            (),
            "the chat template makes several sequences of a row, and privacy is for each; keep one answer per row",
        )


def choose_noise(spec: JobSpec, privacy: Privacy, *, steps: int, choose: Callable[[str, Any, str], Any]) -> float:
    """Choose the noise that the budget needs, and report it.

    Raises:
        SpecError: No noise is enough.
    """
    sample_rate = min(1.0, spec.batch_size / spec.train.training_sequences)
    noise = noise_multiplier_for(epsilon=privacy.epsilon, delta=privacy.delta, sample_rate=sample_rate, steps=steps)
    return choose(
        "privacy.noise_multiplier",
        noise,
        f"the least that keeps {steps:,} steps within epsilon {privacy.epsilon:g} at delta {privacy.delta:g}; each "
        f"step takes every row with probability {sample_rate:.4g}, {spec.batch_size} on average. Found again "
        "if the worker leaves out rows",
    )
