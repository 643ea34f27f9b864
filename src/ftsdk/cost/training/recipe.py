"""What a user's own software may do and a job can't ask for: inputs of a prediction of memory."""

from __future__ import annotations

from dataclasses import replace

from ftsdk.cost.facts.formats import WeightFormat
from ftsdk.cost.training.memory import Loss, Optimizer, TrainingMemory
from ftsdk.errors import SpecError
from ftsdk.spec import Value

__all__ = ["Recipe"]


class Recipe(Value):
    """How a training holds its numbers, for `predict_training`.

    The defaults are those of the `local` backend, but for the loss: an estimate of a job bills the SFT of TRL as
    `half`.
    """

    weights: WeightFormat | None = None
    """Format of the weights: of all for full tuning (`fp32`, or `bf16` for tuning in bfloat16 alone), of the frozen
    ones for adapters (`bf16`, `fp8`, and for QLoRA a 4-bit format). None: fp32 for full tuning, nf4 for QLoRA, else
    bf16."""
    optimizer: Optimizer = "adam"
    """AdamW as PyTorch has it, `adam_fused` without its copy of the parameters, `adam8bit` with moments of a byte, and
    `paged` with moments in the host's memory."""
    steps_in_backward: bool = False
    """The optimizer steps inside the backward pass, so that only the largest gradient is held."""
    loss: Loss = "whole"
    """How logits are held."""
    upcasts: bool = False
    """Embeddings, head and values between layers are held in 32 bits, as peft's `prepare_model_for_kbit_training`
    leaves them."""
    offloads_activations: bool = False
    """What layers keep for the backward pass is held in the host's memory."""
    offloads_weights: bool = False
    """Sharded weights at rest are held in the host's memory (FSDP's CPU offload)."""

    def applied_to(self, memory: TrainingMemory) -> TrainingMemory:
        """Return what a training holds by this recipe.

        Raises:
            SpecError: Full tuning of weights in a format that can't be trained.
        """
        changed = replace(
            memory,
            optimizer=self.optimizer,
            steps_in_backward=self.steps_in_backward,
            loss=self.loss,
            upcasts=self.upcasts,
            offloads_activations=self.offloads_activations,
            offloads_weights=self.offloads_weights,
        )
        if self.weights is None:
            return changed
        if memory.tuning == "full":
            if self.weights not in ("fp32", "bf16"):
                raise SpecError(
                    f"weights={self.weights!r}: full tuning moves weights in 'fp32' or 'bf16'; take LoRA() to freeze "
                    "weights of fewer bits"
                )
            return replace(changed, weight_bytes=4.0 if self.weights == "fp32" else 2.0)
        return replace(changed, frozen_format=self.weights)
