"""What there is to compute in a planned training. Backends fill it in, `ftsdk.cost` reads it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftsdk.spec import JobSpec, Method, OptimizerName, Range, Tuning, Value

__all__ = ["Execution", "Precision", "Workload"]

Precision = Literal["bfloat16", "float16", "float32"]
Count = Annotated[int, Field(ge=1)]


class Execution(Value):
    """How the rows go through the devices, in terms that apply to any trainer."""

    steps: Count
    """Optimizer steps of the whole training."""
    micro_batch_size: Count
    """Rows that go through one device at a time."""
    accumulation_steps: Count = 1
    """Micro-batches of an optimizer step on one device."""
    devices: Count = 1
    """Devices that train together."""
    precision: Precision = "bfloat16"
    """Number format of the computation."""
    attention: str = ""
    """Name of the attention kernel, such as `sdpa`; empty: not known."""
    recomputes: bool = True
    """Whether activations are computed again in the backward pass (gradient checkpointing)."""
    is_sharded: bool = False
    """Whether weights are split over the devices (FSDP, ZeRO-3); otherwise each device holds all of them."""
    is_compiled: bool = False
    """Whether kernels are compiled or fused."""
    projects_trained_only: bool = False
    """Whether logits are computed for trained tokens only."""
    sorted_rows: Annotated[int, Field(ge=0)] = 0
    """Random rows that are sorted by length before they are split into micro-batches; 0: none."""
    packed_tokens: Annotated[int, Field(ge=0)] = 0
    """Most tokens at once where a device's rows of a step are packed and what they share is computed once; 0: rows are
    padded, `micro_batch_size` at a time."""
    evaluations: Annotated[int, Field(ge=0)] = 0
    """Passes over the validation rows."""
    checkpoints: Annotated[int, Field(ge=0)] = 1
    """Checkpoints written, the final weights included."""
    optimizer: OptimizerName = "adamw"
    """How the moments of trained weights are held."""


class Workload(Value):
    """The rows of a planned training, and how they are trained on."""

    rows: Count
    """Training sequences: rows, or more where the turns of a conversation are trained one by one."""
    epochs: Annotated[float, Field(gt=0)]
    """Passes over the rows; fewer than the spec's where `max_steps` ends the training first."""
    tokens: Range | None = None
    """Tokens of all training sequences, guessed from their text; None: not guessed."""
    max_length: Count | None = None
    """Tokens that a sequence is cut to; None: not known offline."""
    method: Method
    tuning: Tuning
    execution: Execution | None = None
    """None for a service that doesn't document how it trains."""

    @classmethod
    def of(cls, spec: JobSpec, *, max_length: int | None, execution: Execution | None = None) -> Workload:
        """Build the workload of a spec.

        Args:
            spec: The job.
            max_length: Tokens that a sequence is cut to, as planned; None: not known offline.
            execution: As the trainer planned it.
        """
        epochs = spec.epochs
        if spec.max_steps is not None:
            epochs = min(epochs, spec.max_steps * spec.batch_size / spec.train.training_sequences)
        return cls(
            rows=spec.train.training_sequences,
            epochs=epochs,
            tokens=spec.train.tokens,
            max_length=max_length,
            method=spec.method,
            tuning=spec.tuning,
            execution=execution,
        )
