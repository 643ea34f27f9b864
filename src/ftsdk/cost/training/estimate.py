"""Estimates of runs, from a plan and the lengths of its rows.

One result for every backend, offline, each number with its source.

Read of a plan are its spec, `workload`, `hardware` and `billing`, and never its native request. A plan with hardware
has its time and memory predicted by the models of both; what that costs follows from its billing.
"""

from __future__ import annotations

from decimal import Decimal

from ftsdk.cost.facts.shapes import shape_of
from ftsdk.cost.training.calibration import Calibration
from ftsdk.cost.training.hardware_memory import memory_estimate, memory_notes
from ftsdk.cost.training.hardware_time import checkpoint_seconds, start_seconds, time_lines
from ftsdk.cost.training.money import priced
from ftsdk.cost.training.ranges import multiplied, total
from ftsdk.cost.training.tokens import RowTokens
from ftsdk.cost.training.work import Work, device_of
from ftsdk.models import ModelFacts
from ftsdk.protocol import Plan, Workload
from ftsdk.protocol.estimates import BillingTerms, Estimate, PlannedHardware, Range

__all__ = ["BillingTerms", "Estimate", "estimate"]


def estimate(
    plan: Plan,
    facts: ModelFacts,
    train: RowTokens,
    *,
    validation: RowTokens | None = None,
    calibration: Calibration | None = None,
    usd_per_hour: Decimal | None = None,
) -> Estimate:
    """Estimate what a planned run will take.

    Args:
        plan: The backend's plan.
        facts: Facts of the model.
        train: Tokens of the training rows.
        validation: Tokens of the validation rows.
        calibration: Constants measured on the hardware of the plan; None takes the published ones.
        usd_per_hour: US dollars that an hour of the hardware costs, in place of the plan's rates; None: the plan's.
    """
    workload = plan.workload or Workload.of(plan.spec, max_length=plan.spec.max_length)
    tokens = multiplied(
        Range(low=train.total * train.low_factor, likely=train.total, high=train.total * train.high_factor),
        workload.epochs,
    )
    found = Estimate(backend=plan.backend, tokens=tokens, tokens_source=train.source)
    if plan.hardware is not None:
        found = _on_hardware(found, workload, plan.hardware, facts, train, validation, calibration)
    return priced(found, plan, train, validation, usd_per_hour=usd_per_hour)


def _on_hardware(
    found: Estimate,
    workload: Workload,
    hardware: PlannedHardware,
    facts: ModelFacts,
    train: RowTokens,
    validation: RowTokens | None,
    calibration: Calibration | None,
) -> Estimate:
    shape, device = shape_of(facts), device_of(hardware)
    if shape is None or device is None:
        missing = (
            f"the size of {facts.name} isn't known: download it, or name a size in its id"
            if shape is None
            else f"{hardware.name} isn't known"
        )
        return found.replace(notes=(f"no time and no memory: {missing}",))
    if workload.execution is None:
        return found.replace(
            notes=("no time and no memory: the trainer doesn't state how it trains (Plan.workload.execution)",)
        )
    work = Work(
        workload=workload, execution=workload.execution, hardware=hardware, device=device, shape=shape, train=train
    )
    memory = memory_estimate(work, calibration=calibration)
    notes: list[str] = list(memory_notes(memory, work))
    if shape.origin == "size":
        notes.append(
            f"{facts.name} isn't on this machine and not in the table of shapes: its layers are guessed from the size "
            "in its name"
        )
    if device.rows == 0 and calibration is None:
        notes.append(
            f"no published run is on a device like {hardware.name}, so the interval is wide; `ftsdk calibrate` narrows "
            "it"
        )
    if device.peak_tflops is None:
        return found.replace(
            memory=memory, notes=(*notes, f"no time: no source has the dense bfloat16 peak of {device.name}")
        )
    lines = time_lines(work, facts, validation=validation, calibration=calibration)
    return found.replace(
        seconds=total([line.amount for line in lines]),
        time_lines=lines,
        step=work.parts(tokens_per_row=work.computed_row(train)),
        start_s=start_seconds(work) if facts.is_downloaded else None,
        checkpoint_s=checkpoint_seconds(work).likely,
        memory=memory,
        notes=tuple(notes),
    )
