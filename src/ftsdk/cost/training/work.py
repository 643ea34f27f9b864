"""What a plan asks of the hardware that it names: steps, rows at a time, tokens with padding."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ftsdk.cost.facts.devices import Device, cpu_device, find_device
from ftsdk.cost.facts.shapes import Shape
from ftsdk.cost.training.step_time import UNMEASURED, Factors, MicroStep, StepTime, step_time
from ftsdk.cost.training.tokens import RowTokens, padded_tokens
from ftsdk.errors import SpecError
from ftsdk.protocol import Plan
from ftsdk.protocol.estimates import PlannedHardware, StepParts
from ftsdk.spec import DPO, JobSpec

__all__ = ["Work", "device_of", "rounds_of", "work_of"]


def rounds_of(spec: JobSpec) -> float:
    """Passes over the rows, by epochs or by steps, whichever ends first."""
    if spec.max_steps is None:
        return spec.epochs
    return min(spec.epochs, spec.max_steps * spec.batch_size / spec.train.rows)


def device_of(hardware: PlannedHardware) -> Device | None:
    """Describe the device of a plan; None if it isn't known."""
    if hardware.device == "cuda":
        # Of several that the place may give, the first is asked for first.
        name = hardware.name.split(" or ")[0]
        try:
            return find_device(name)
        except SpecError:
            return None
    cores = re.search(r"\d+", hardware.name)
    return cpu_device(
        cores=int(cores.group()) if cores and hardware.device == "cpu" else 8,
        memory_gib=hardware.memory_gib,
        name=hardware.name,
        has_bfloat16=hardware.has_bfloat16,
    )


@dataclass(frozen=True, kw_only=True)
class Work:
    """A training on hardware that is known."""

    spec: JobSpec
    training: Mapping[str, Any]
    """The trainer's part of the request."""
    hardware: PlannedHardware
    device: Device
    shape: Shape
    train: RowTokens

    @property
    def rows_at_a_time(self) -> int:
        """Rows of a micro-batch on one device."""
        return int(self.training.get("micro_batch_size", 1))

    @property
    def accumulation(self) -> int:
        """Micro-batches of an optimizer step on one device."""
        return int(self.training.get("accumulation_steps", 1))

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return int(self.training.get("total_steps") or max(1, math.ceil(self.spec.train.rows * rounds_of(self.spec) / self.spec.batch_size)))

    @property
    def sequences_per_row(self) -> int:
        """A preference row is two sequences."""
        return 2 if isinstance(self.spec.method, DPO) else 1

    @property
    def is_on_cpu(self) -> bool:
        """Activations are kept there, and only trained tokens are projected to the vocabulary."""
        return self.hardware.device == "cpu"

    @property
    def micro_steps(self) -> int:
        """Of the whole training, on one device. The last step of an epoch may be short, and a micro-batch may be: rows count, not steps."""
        rows = math.ceil(self.spec.train.rows * rounds_of(self.spec) / self.rows_at_a_time / self.hardware.processes)
        return max(self.steps, min(self.steps * self.accumulation, rows + self.steps))

    def padded_row(self, rows: RowTokens) -> float:
        """Tokens of the mean row with its padding: rows of a step are sorted by length, but pairs aren't."""
        sorted_rows = 0 if isinstance(self.spec.method, DPO) else self.spec.batch_size
        return padded_tokens(rows.lengths_N, self.rows_at_a_time, sorted_rows=sorted_rows) / len(rows.lengths_N)

    @property
    def projected_share(self) -> float:
        """Of the tokens, those whose logits are computed: all, or on a CPU the columns in which any row of a micro-batch is trained.

        Rows of one length have theirs in the same columns, rows of all lengths in as many as there are rows; sorted rows lie in between.
        """
        if not self.is_on_cpu or isinstance(self.spec.method, DPO):
            return 1.0
        return min(1.0, self.train.trained_share * math.sqrt(self.rows_at_a_time))

    def micro_step(self, *, tokens_per_row: float) -> MicroStep:
        """One micro-step of rows of so many tokens, padding included."""
        return MicroStep(
            tokens=self.rows_at_a_time * self.sequences_per_row * tokens_per_row,
            row_tokens=tokens_per_row,
            tuning=self.spec.tuning.kind,
            recomputes=not self.is_on_cpu,
            accumulation=self.accumulation,
            devices=self.hardware.processes,
            reference_passes=1 if isinstance(self.spec.method, DPO) else 0,
            projected_share=self.projected_share,
        )

    def time(self, *, tokens_per_row: float, factors: Factors = UNMEASURED) -> StepTime:
        """Seconds of such a micro-step."""
        return step_time(self.micro_step(tokens_per_row=tokens_per_row), self.shape, self.device, factors=factors)

    def parts(self, *, tokens_per_row: float) -> StepParts:
        """One optimizer step of such rows, before any calibration."""
        time = self.time(tokens_per_row=tokens_per_row)
        each = self.accumulation
        return StepParts(device_s=each * time.device_s, host_s=each * time.host_s, optimizer_s=each * time.optimizer_s, overlap=time.overlap)


def work_of(plan: Plan, hardware: PlannedHardware, device: Device, shape: Shape, train: RowTokens) -> Work:
    """Read a plan."""
    training = cast("Mapping[str, Any]", plan.request.get("training", {}))
    return Work(spec=plan.spec, training=training, hardware=hardware, device=device, shape=shape, train=train)
