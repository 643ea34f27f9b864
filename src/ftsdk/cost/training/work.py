"""What a workload asks of the hardware it was planned for: micro-steps, and tokens with padding."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ftsdk.cost.facts.devices import Device, cpu_device, find_device
from ftsdk.cost.facts.shapes import Shape
from ftsdk.cost.training.step_time import UNMEASURED, Factors, MicroStep, StepTime, step_time
from ftsdk.cost.training.tokens import RowTokens, padded_tokens
from ftsdk.errors import SpecError
from ftsdk.protocol import Execution, Workload
from ftsdk.protocol.estimates import PlannedHardware, StepParts
from ftsdk.spec import Method, Tuning

__all__ = ["Work", "device_of"]


def device_of(hardware: PlannedHardware) -> Device | None:
    """Return the device of a plan; None if it isn't known."""
    if hardware.device == "cuda":
        # Of several alternatives the first is preferred.
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
    """A training on known hardware."""

    workload: Workload
    execution: Execution
    """That of the workload, which has one."""
    hardware: PlannedHardware
    device: Device
    shape: Shape
    train: RowTokens

    @property
    def method(self) -> Method:
        """What is learned."""
        return self.workload.method

    @property
    def tuning(self) -> Tuning:
        """Which weights move."""
        return self.workload.tuning

    @property
    def is_on_cpu(self) -> bool:
        """Whether it trains on a CPU."""
        return self.hardware.device == "cpu"

    @property
    def micro_steps(self) -> int:
        """Micro-steps of the whole training on one device.

        The last step of an epoch may be short, and so may a micro-batch: rows count, not steps.
        """
        execution, rows = self.execution, self.workload.rows * self.workload.epochs
        each = math.ceil(rows / execution.micro_batch_size / execution.devices)
        return max(execution.steps, min(execution.steps * execution.accumulation_steps, each + execution.steps))

    def padded_row(self, rows: RowTokens) -> float:
        """Return the tokens of the mean row with its padding."""
        padded = padded_tokens(rows.lengths_N, self.execution.micro_batch_size, sorted_rows=self.execution.sorted_rows)
        return padded / len(rows.lengths_N)

    @property
    def projected_share(self) -> float:
        """Share of the tokens whose logits are computed.

        All, or the columns in which any row of a micro-batch is trained.

        Rows of one length have theirs in the same columns, rows of all lengths in as many as there are rows; sorted
        rows lie in between.
        """
        if not self.execution.projects_trained_only:
            return 1.0
        return min(1.0, self.train.trained_share * math.sqrt(self.execution.micro_batch_size))

    def micro_step(self, *, tokens_per_row: float) -> MicroStep:
        """Return one micro-step of rows of so many tokens, padding included."""
        execution, method = self.execution, self.method
        return MicroStep(
            tokens=execution.micro_batch_size * method.sequences_per_row * tokens_per_row,
            row_tokens=tokens_per_row,
            tuning=self.tuning.kind,
            recomputes=execution.recomputes,
            is_compiled=execution.is_compiled,
            accumulation=execution.accumulation_steps,
            devices=execution.devices,
            is_sharded=execution.is_sharded,
            reference_passes=1 if method.needs_reference else 0,
            projected_share=self.projected_share,
        )

    def time(self, *, tokens_per_row: float, factors: Factors = UNMEASURED) -> StepTime:
        """Return the seconds of such a micro-step."""
        return step_time(self.micro_step(tokens_per_row=tokens_per_row), self.shape, self.device, factors=factors)

    def parts(self, *, tokens_per_row: float) -> StepParts:
        """Return one optimizer step of such rows, before any calibration."""
        time = self.time(tokens_per_row=tokens_per_row)
        each = self.execution.accumulation_steps
        return StepParts(
            device_s=each * time.device_s,
            host_s=each * time.host_s,
            optimizer_s=each * time.optimizer_s,
            overlap=time.overlap,
        )
