"""How fast a model trains on a device, and whether it fits: a comparison of devices before there is a job."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from ftsdk._rich_text import rich_text
from ftsdk.cost.facts.devices import find_device
from ftsdk.cost.facts.shapes import shape_of
from ftsdk.cost.training.constants import memory_constants, time_constants
from ftsdk.cost.training.job_memory import adapter_inputs, computed_as, memory_of_tuning, trained_parameters
from ftsdk.cost.training.memory import largest_batch, peak_memory, verdict
from ftsdk.cost.training.ranges import within
from ftsdk.cost.training.recipe import Recipe
from ftsdk.cost.training.step_time import MicroStep, spread_above, spread_of, step_time
from ftsdk.errors import SpecError
from ftsdk.models import inspect_model
from ftsdk.protocol.estimates import Range
from ftsdk.spec import LoRA, Model, Tuning, Value
from ftsdk.spec.amounts import shown_number

__all__ = ["TrainingPrediction", "predict_training"]


class TrainingPrediction(Value):
    """Speed and memory of a training on a device, each number with its 80% interval."""

    model: str
    device: str
    devices: int
    tuning: str
    step_s: Range
    """Seconds of one micro-step: one pass forward and back over the rows that go through at a time, on each device."""
    tokens_per_s: Range
    """Tokens that go through the model in a second, padding included, on all devices together."""
    peak_gb: Range
    """Peak memory of one device, in GB of 1e9 bytes."""
    memory_gib: float | None
    """Memory of one device, in GiB; None: not known."""
    verdict: Literal["fits", "tight", "no", "unknown"]
    largest_micro_batch: Annotated[int, Field(ge=0)] | None
    """The most rows as long as the longest that fit at once, with a margin of error; None: the memory isn't known."""
    source: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        there = "" if self.memory_gib is None else f" of {self.memory_gib:g} GiB"
        most = "" if self.largest_micro_batch is None else f"; at most {self.largest_micro_batch} rows at a time"
        where = self.device if self.devices == 1 else f"{self.devices} x {self.device}"
        return (
            f"{self.model}, {self.tuning} on {where}\n"
            f"  {self.tokens_per_s} tokens/s\n  {self.peak_gb} GB{there}: {self.verdict}{most}\n  [80% intervals, "
            "from published runs]" + "".join(f"\n  Note: {note}" for note in self.notes)
        )

    __rich__ = rich_text


def predict_training(
    *,
    model: str | Model,
    gpu: str,
    tokens_per_row: float,
    rows_at_a_time: int = 1,
    tuning: Tuning = LoRA(),  # noqa: B008  (frozen)
    longest_row: float | None = None,
    gpus: int = 1,
    is_sharded: bool = False,
    recomputes: bool = True,
    is_compiled: bool = False,
    accumulation: int = 1,
    recipe: Recipe = Recipe(),  # noqa: B008  (frozen)
) -> TrainingPrediction:
    """Predict speed and memory of a training from what device and host have to do in a step.

    Args:
        model: A model of the table, on this machine, or with its size in its name.
        gpu: Such as `A100-80GB`, `H100` or `RTX4090`.
        tokens_per_row: Tokens of the mean row, with its padding or packed.
        rows_at_a_time: Rows that go through one device at a time (the micro-batch).
        tuning: Which weights move.
        longest_row: Tokens of the longest row, for memory; None: all are as long as the mean one.
        gpus: Devices that train on it together.
        is_sharded: Whether weights are split over the devices (FSDP, ZeRO-3); otherwise each holds all of them.
        recomputes: Activations are computed again in the backward pass (gradient checkpointing).
        is_compiled: Kernels are compiled or fused.
        accumulation: Micro-steps for each optimizer step.
        recipe: Number formats, optimizer, loss and offload, which change memory; what they cost in time isn't
            predicted.

    Raises:
        SpecError: The device or the size of the model isn't known, or a number is impossible.
    """
    longest = tokens_per_row if longest_row is None else longest_row
    _check(tokens_per_row=tokens_per_row, longest_row=longest)
    _check_counts(rows_at_a_time=rows_at_a_time, gpus=gpus, accumulation=accumulation)
    if longest < tokens_per_row:
        raise SpecError(f"longest_row={longest_row!r} is shorter than the mean row, tokens_per_row={tokens_per_row!r}")
    _check_tuning(tuning)
    asked = model if isinstance(model, Model) else Model(id=model)
    shape, device = shape_of(inspect_model(asked)), find_device(gpu)
    if shape is None:
        raise SpecError(
            f"the size of {asked.id} isn't known: download it, or name a model of the same size that has it in its name"
        )
    step = MicroStep(
        tokens=rows_at_a_time * tokens_per_row,
        row_tokens=tokens_per_row,
        tuning=computed_as(tuning),
        recomputes=recomputes,
        is_compiled=is_compiled,
        accumulation=accumulation,
        devices=gpus,
        is_sharded=is_sharded and gpus > 1,
    )
    time = step_time(step, shape, device)
    memory = replace(
        memory_of_tuning(tuning, precision=None, longest_tokens=rows_at_a_time * longest),
        recomputes=recomputes,
        is_compiled=is_compiled,
        adapted=trained_parameters(tuning, shape) if tuning.adapts else None,
        input_width=adapter_inputs(tuning, shape),
        shards=gpus if step.is_sharded else 1,
    )
    memory = recipe.applied_to(memory)
    peak = peak_memory(memory, shape)
    spread = spread_of(step, time, device)
    seconds = within(time.total_s, spread, above=spread_above(step, device, spread))
    tokens = gpus * step.tokens
    there = device.memory_gib
    return TrainingPrediction(
        model=asked.id,
        device=device.name,
        devices=gpus,
        tuning=tuning.kind,
        step_s=seconds,
        tokens_per_s=Range(low=tokens / seconds.high, likely=tokens / seconds.likely, high=tokens / seconds.low),
        peak_gb=within(peak.likely / 1e9, peak.spread),
        memory_gib=there,
        verdict="unknown" if there is None else verdict(peak, there),
        largest_micro_batch=None if there is None else largest_batch(memory, shape, there, row_tokens=longest),
        notes=(
            f"{asked.id} isn't on this machine and not in the table of shapes: its layers are guessed from the size in "
            "its name",
        )
        if shape.origin == "size"
        else (),
        source=f"{time_constants().source}; {memory_constants().source}",
    )


_MOST = 1e12


def _check(**amounts: object) -> None:
    for name, amount in amounts.items():
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount <= _MOST:
            raise SpecError(f"{name}={shown_number(amount)}: give a number above 0, up to {_MOST:g}")


def _check_tuning(tuning: object) -> None:
    if not isinstance(tuning, Value):
        raise SpecError(f"tuning={tuning!r}: give a tuning, such as LoRA(rank=16), QLoRA() or FullFineTune()")


def _check_counts(**counts: object) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST:
            raise SpecError(f"{name}={shown_number(count)}: give a whole number, 1 or more, up to {_MOST:g}")
