"""From a plan and the lengths of its rows to what the run will take: one result for every backend, offline, each number with its source.

A plan that names hardware is trained there: time and memory come from the models of time and memory, and money from time where the place
bills it. A plan for a service that bills tokens costs what the service's rule makes of them. Anything else costs what its plan says.
"""

from __future__ import annotations

from decimal import Decimal

from ftsdk.cost.facts.shapes import shape_of
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.training.calibration import Calibration
from ftsdk.cost.training.hardware_memory import memory_estimate, memory_notes
from ftsdk.cost.training.hardware_time import checkpoint_seconds, start_seconds, time_lines
from ftsdk.cost.training.money import as_planned, by_time, by_tokens
from ftsdk.cost.training.ranges import total
from ftsdk.cost.training.tokens import RowTokens
from ftsdk.cost.training.work import device_of, rounds_of, work_of
from ftsdk.models import ModelFacts
from ftsdk.protocol import Plan
from ftsdk.protocol.estimates import Accrual, Estimate, PlannedHardware, Range

__all__ = ["Accrual", "Estimate", "estimate"]


def estimate(
    plan: Plan,
    facts: ModelFacts,
    train: RowTokens,
    *,
    validation: RowTokens | None = None,
    book: PriceBook | None = None,
    calibration: Calibration | None = None,
    usd_per_hour: Decimal | None = None,
) -> Estimate:
    """Say what a planned run will take.

    Args:
        plan: As the backend gave it.
        facts: What is known of the model.
        train: Tokens of the training rows.
        validation: Tokens of the validation rows.
        book: Prices; None loads all layers where a price is needed.
        calibration: Constants measured on the hardware of the plan; None takes the published ones.
        usd_per_hour: What an hour of the hardware costs, where the place itself bills nothing.
    """
    spec = plan.spec
    rounds = rounds_of(spec)
    tokens = Range(low=train.total * train.low_factor * rounds, likely=train.total * rounds, high=train.total * train.high_factor * rounds)
    found = Estimate(backend=plan.backend, tokens=tokens, tokens_source=train.source)
    if plan.hardware is not None:
        found = _on_hardware(found, plan, plan.hardware, facts, train, validation, calibration)
        return by_time(found, plan, plan.hardware, book, usd_per_hour)
    book = PriceBook.load() if book is None else book
    rule = book.rule(plan.backend, "finetune")
    if rule is not None:
        return by_tokens(found, plan, facts, train, validation, book, rule)
    return as_planned(found, plan)


def _on_hardware(
    found: Estimate,
    plan: Plan,
    hardware: PlannedHardware,
    facts: ModelFacts,
    train: RowTokens,
    validation: RowTokens | None,
    calibration: Calibration | None,
) -> Estimate:
    shape, device = shape_of(facts), device_of(hardware)
    if shape is None or device is None:
        missing = f"the size of {facts.name} isn't known: download it, or name a size in its id" if shape is None else f"{hardware.name} isn't known"
        return found.replace(notes=(f"no time and no memory: {missing}",))
    work = work_of(plan, hardware, device, shape, train)
    memory = memory_estimate(work, calibration=calibration)
    notes: list[str] = list(memory_notes(memory, work, plan))
    if shape.origin == "size":
        notes.append(f"{facts.name} isn't on this machine and not in the table of shapes: its layers are guessed from the size in its name")
    if device.rows == 0 and calibration is None:
        notes.append(f"no published run is on a device like {hardware.name}, so the interval is wide; `ftsdk calibrate` narrows it")
    if device.peak_tflops is None:
        return found.replace(memory=memory, notes=(*notes, f"no time: no source tells the dense bfloat16 peak of {device.name}"))
    lines = time_lines(work, facts, validation=validation, calibration=calibration)
    return found.replace(
        seconds=total([line.amount for line in lines]),
        time_lines=lines,
        step=work.parts(tokens_per_row=work.padded_row(train)),
        start_s=start_seconds(work) if facts.is_downloaded else None,
        checkpoint_s=checkpoint_seconds(work).likely,
        memory=memory,
        notes=tuple(notes),
    )
