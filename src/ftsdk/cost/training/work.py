"""What a workload asks of the hardware it was planned for: micro-steps, and tokens with padding."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ftsdk.cost.facts.devices import Device, cpu_device, find_device
from ftsdk.cost.facts.shapes import Shape
from ftsdk.cost.training.job_memory import computed_as
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
    def step_rows(self) -> int:
        """Rows of an optimizer step on one device."""
        return self.execution.micro_batch_size * self.execution.accumulation_steps

    @property
    def rows_at_once(self) -> float:
        """Rows that go through a device at once; where rows are packed, the mean of pieces of similar size."""
        if not self.execution.packed_tokens:
            return self.execution.micro_batch_size
        return self.step_rows / self._pieces

    @property
    def _pieces(self) -> int:
        """Pieces of the mean step, where rows are packed."""
        # A beginning that all rows share comes on top of what a piece may have.
        pieces = math.ceil((self._step_tokens - self.train.shared_by_all) / self.execution.packed_tokens)
        return min(max(1, pieces), self.step_rows)

    @property
    def micro_steps(self) -> int:
        """Micro-steps of the whole training on one device.

        The last step of an epoch may be short, and so may a micro-batch: rows count, not steps.
        """
        execution, rows = self.execution, self.workload.rows * self.workload.epochs
        each = math.ceil(rows / self.rows_at_once / execution.devices)
        most = round(execution.steps * self.step_rows / self.rows_at_once)
        return max(execution.steps, min(most, each + execution.steps))

    @property
    def _step_tokens(self) -> float:
        """Tokens that are computed for the mean step on one device."""
        return self.step_rows * self.method.sequences_per_row * self.computed_row(self.train)

    def computed_row(self, rows: RowTokens) -> float:
        """Return the tokens that are computed for the mean sequence: with padding, or without what others share."""
        execution = self.execution
        if execution.packed_tokens:
            return rows.mean_sequence * rows.computed_share(
                step_rows=self.step_rows, packed_tokens=execution.packed_tokens
            )
        padded = padded_tokens(rows.lengths_N, execution.micro_batch_size, sorted_rows=execution.sorted_rows)
        return padded / len(rows.lengths_N) + self.tuning.added_positions

    @property
    def tokens_at_once(self) -> float:
        """Most tokens that go through a device at once, if the longest row is as long as is likely."""
        execution, longest = self.execution, self.train.longest + self.tuning.added_positions
        if not execution.packed_tokens:
            return execution.micro_batch_size * self.method.sequences_per_row * longest
        # A step has more than the mean one, but not all rows are the longest; its pieces are of similar size.
        likely = 1.1 * self._step_tokens / self._pieces
        return max(longest, min(execution.packed_tokens + self.train.shared_by_all, likely))

    @property
    def projected_share(self) -> float:
        """Share of the tokens whose logits are computed.

        All, or the columns in which any row of a micro-batch is trained.

        Rows of one length have theirs in the same columns, rows of all lengths in as many as there are rows; sorted
        rows lie in between. Packed rows have no columns.
        """
        if not self.execution.projects_trained_only:
            return 1.0
        if self.execution.packed_tokens:
            return min(1.0, self.train.trained_share * self.train.mean_sequence / self.computed_row(self.train))
        return min(1.0, self.train.trained_share * math.sqrt(self.execution.micro_batch_size))

    def micro_step(self, *, tokens_per_row: float) -> MicroStep:
        """Return one micro-step of rows of which so many tokens each are computed."""
        execution, method = self.execution, self.method
        return MicroStep(
            tokens=self.rows_at_once * method.sequences_per_row * tokens_per_row,
            row_tokens=self.train.mean_sequence if execution.packed_tokens else tokens_per_row,
            tuning=computed_as(self.tuning),
            recomputes=execution.recomputes,
            is_compiled=execution.is_compiled,
            accumulation=self.step_rows / self.rows_at_once,
            devices=execution.devices,
            is_sharded=execution.is_sharded,
            reference_passes=self._reference_passes,
            projected_share=self.projected_share,
        )

    @property
    def _reference_passes(self) -> float:
        """Passes without gradients for each through the model; what packed rows have in the reference is kept."""
        passes = float(self.method.untrained_passes)
        return passes / max(1.0, self.workload.epochs) if self.execution.packed_tokens else passes

    def time(self, *, tokens_per_row: float, factors: Factors = UNMEASURED) -> StepTime:
        """Return the seconds of such a micro-step."""
        return step_time(self.micro_step(tokens_per_row=tokens_per_row), self.shape, self.device, factors=factors)

    def parts(self, *, tokens_per_row: float) -> StepParts:
        """Return one optimizer step of such rows, before any calibration."""
        time = self.time(tokens_per_row=tokens_per_row)
        each = self.step_rows / self.rows_at_once
        return StepParts(
            device_s=each * time.device_s,
            host_s=each * time.host_s,
            optimizer_s=each * time.optimizer_s,
            overlap=time.overlap,
            tokens=self.step_rows * self.method.sequences_per_row * tokens_per_row,
        )
