"""From a plan and the lengths of its rows to what the run will take: one result for every backend, offline, each number with its source.

A plan that names hardware is trained there: time and memory come from the models of time and memory, and money from time where the place
bills it. A plan for a service that bills tokens costs what the service's rule makes of them. Anything else costs what its plan says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal, cast

from ftsdk.backends.base import Plan
from ftsdk.backends.estimates import ASKED_LATER, Accrual, CostRange, Estimate, EstimateLine, MemoryEstimate, PlannedHardware, Range, StepParts
from ftsdk.cost.facts.hardware import Device, cpu_device, find_device, is_known, memory_constants
from ftsdk.cost.facts.shapes import ModelShape, shape_of
from ftsdk.cost.pricebook.billing import Bill, finetune_cost, per_second_gpu_cost, together_finetune_tokens
from ftsdk.cost.pricebook.book import BillingRule, PriceBook
from ftsdk.cost.pricebook.finetune_prices import finetune_minimum, finetune_price, kind_of
from ftsdk.cost.pricebook.gpu_prices import gpu_price
from ftsdk.cost.training.calibration import Calibration
from ftsdk.cost.training.memory import TrainingMemory, largest_batch, peak_memory, verdict
from ftsdk.cost.training.step_time import MicroStep, passes_of, spread_of, step_time
from ftsdk.cost.training.tokens import RowTokens, padded_tokens
from ftsdk.errors import SpecError
from ftsdk.models import ModelFacts
from ftsdk.spec import DPO, FullFineTune, JobSpec, QLoRA

__all__ = ["Accrual", "Estimate", "estimate"]

_Z80 = 1.2816
_GIB = 2**30


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
    rounds = _rounds(spec)
    tokens = Range(low=train.total * train.low_factor * rounds, likely=train.total * rounds, high=train.total * train.high_factor * rounds)
    found = Estimate(backend=plan.backend, tokens=tokens, tokens_source=train.source)
    if plan.hardware is not None:
        found = _on_hardware(found, plan, plan.hardware, facts, train, validation, calibration)
        return _by_time(found, plan, plan.hardware, book, usd_per_hour)
    book = PriceBook.load() if book is None else book
    rule = book.rule(plan.backend, "finetune")
    if rule is not None:
        return _by_tokens(found, plan, facts, train, validation, book, rule)
    return _as_planned(found, plan)


def _rounds(spec: JobSpec) -> float:
    """Passes over the rows, by epochs or by steps, whichever ends first."""
    if spec.max_steps is None:
        return spec.epochs
    return min(spec.epochs, spec.max_steps * spec.batch_size / spec.train.rows)


# Time and memory, on hardware that is known.


def _on_hardware(
    found: Estimate,
    plan: Plan,
    hardware: PlannedHardware,
    facts: ModelFacts,
    train: RowTokens,
    validation: RowTokens | None,
    calibration: Calibration | None,
) -> Estimate:
    shape = shape_of(facts)
    device = _device(hardware)
    if shape is None or device is None:
        missing = f"the size of {facts.name} isn't known: download it, or name a size in its id" if shape is None else f"{hardware.name} isn't known"
        return found.replace(notes=(f"no time and no memory: {missing}",))
    notes: list[str] = []
    if shape.origin == "size":
        notes.append(f"{facts.name} isn't on this machine and not in the table of shapes: its layers are guessed from the size in its name")
    training = cast("Mapping[str, Any]", plan.request.get("training", {}))
    parts = _step_parts(plan.spec, training, hardware, device, shape, train)
    is_calibrated = calibration is not None and calibration.covers(parts)
    if calibration is not None:
        device = calibration.applied(device)
    if device.rows == 0 and not is_calibrated:
        notes.append(f"no published run is on a device like {hardware.name}, so the interval is wide; `ftsdk calibrate` narrows it")
    lines = _time_lines(plan.spec, training, hardware, device, shape, facts, train, validation, calibration if is_calibrated else None)
    memory = _memory(plan.spec, training, hardware, device, shape, train, calibration)
    seconds = _sum([line.amount for line in lines])
    return found.replace(seconds=seconds, time_lines=lines, step=parts, memory=memory, notes=tuple(notes))


def _device(hardware: PlannedHardware) -> Device | None:
    if hardware.device == "cuda":
        # Of several that the place may give, the first is asked for first.
        name = hardware.name.split(" or ")[0]
        return find_device(name) if is_known(name) else None
    cores = re.search(r"\d+", hardware.name)
    return cpu_device(
        cores=int(cores.group()) if cores and hardware.device == "cpu" else 8,
        memory_gib=hardware.memory_gib,
        name=hardware.name,
        has_bfloat16=hardware.has_bfloat16,
    )


def _step(spec: JobSpec, training: Mapping[str, Any], hardware: PlannedHardware, *, tokens_per_row: float) -> MicroStep:
    is_dpo = isinstance(spec.method, DPO)
    rows = int(training.get("micro_batch_size", 1)) * (2 if is_dpo else 1)
    return MicroStep(
        tokens=rows * tokens_per_row,
        row_tokens=tokens_per_row,
        tuning=spec.tuning.kind,
        recomputes=hardware.device != "cpu",
        accumulation=int(training.get("accumulation_steps", 1)),
        devices=hardware.processes,
        reference_passes=1 if is_dpo else 0,
    )


def _step_parts(
    spec: JobSpec, training: Mapping[str, Any], hardware: PlannedHardware, device: Device, shape: ModelShape, train: RowTokens
) -> StepParts:
    """One optimizer step of the mean kind."""
    per_row = padded_tokens(train.lengths_N, int(training.get("micro_batch_size", 1))) / len(train.lengths_N)
    step = _step(spec, training, hardware, tokens_per_row=per_row)
    time = step_time(step, shape, device)
    device_s = time.products_s + time.traffic_s + time.dequantise_s + time.optimizer_s
    return StepParts(device_s=step.accumulation * device_s, host_s=step.accumulation * time.host_s)


def _time_lines(
    spec: JobSpec,
    training: Mapping[str, Any],
    hardware: PlannedHardware,
    device: Device,
    shape: ModelShape,
    facts: ModelFacts,
    train: RowTokens,
    validation: RowTokens | None,
    calibration: Calibration | None,
) -> tuple[EstimateLine, ...]:
    micro = int(training.get("micro_batch_size", 1))
    accumulation = int(training.get("accumulation_steps", 1))
    steps = int(training.get("total_steps") or max(1, math.ceil(spec.train.rows * _rounds(spec) / spec.batch_size)))
    per_row = padded_tokens(train.lengths_N, micro) / len(train.lengths_N)
    # The last step of an epoch may be short, and a micro-batch may be: count rows, not steps.
    micro_steps = min(steps * accumulation, math.ceil(spec.train.rows * _rounds(spec) / micro / hardware.processes) + steps)
    micro_steps = max(steps, min(micro_steps, steps * accumulation))

    def seconds(factor: float) -> float:
        step = _step(spec, training, hardware, tokens_per_row=per_row * factor)
        return micro_steps * step_time(step, shape, device).total_s

    step = _step(spec, training, hardware, tokens_per_row=per_row)
    known: Literal["new_stack", "calibrated"] = "new_stack" if calibration is None else "calibrated"
    spread = spread_of(step, step_time(step, shape, device), device, known=known)
    likely = seconds(1.0)
    amount = _around(likely, seconds(train.low_factor), seconds(train.high_factor), spread)
    passes = passes_of(step)
    source = f"{steps:,} steps, {passes:g} passes, {per_row:,.0f} tokens a row with padding; " + (
        calibration.source if calibration else device.source
    )
    lines = [
        EstimateLine(label="start", amount=_START[hardware.device], unit="s", source="worker, imports; a place's container beside it"),
        _loading(facts, shape),
        EstimateLine(label="training", amount=amount, unit="s", source=source),
    ]
    if validation is not None and spec.validation is not None:
        lines.append(_evaluation(spec, training, hardware, device, shape, train, validation, steps, spread))
    lines.append(_checkpoints(spec, training, shape, steps))
    return tuple(lines)


_START = {
    "cuda": Range(low=10, likely=25, high=90),
    "mps": Range(low=8, likely=15, high=40),
    "cpu": Range(low=6, likely=12, high=40),
}


def _loading(facts: ModelFacts, shape: ModelShape) -> EstimateLine:
    size = shape.parameters * 2
    read = Range(low=size / 3e9, likely=1 + size / 1e9, high=3 + size / 0.2e9)
    if facts.at_hand:
        return EstimateLine(label="loading the model", amount=read, unit="s", source=f"{size / 1e9:.1f} GB at 0.2 to 3 GB/s")
    fetch = Range(low=size / 1e9, likely=size / 0.2e9, high=size / 0.03e9)
    return EstimateLine(
        label="downloading and loading", amount=_sum([read, fetch]), unit="s", source=f"{size / 1e9:.1f} GB at 0.03 to 1 GB/s from the hub, then read"
    )


def _evaluation(
    spec: JobSpec,
    training: Mapping[str, Any],
    hardware: PlannedHardware,
    device: Device,
    shape: ModelShape,
    train: RowTokens,
    validation: RowTokens,
    steps: int,
    spread: float,
) -> EstimateLine:
    """A forward pass over the validation rows, each time."""
    every = int(training.get("eval_steps") or steps)
    times = max(1, steps // every)
    micro = int(training.get("micro_batch_size", 1))
    per_row = padded_tokens(validation.lengths_N, micro) / len(validation.lengths_N)
    step = _step(spec, training, hardware, tokens_per_row=per_row)
    whole = step_time(step, shape, device)
    forward = (1 + step.reference_passes) / passes_of(step)
    one = (whole.total_s - whole.optimizer_s) * forward * math.ceil(len(validation.lengths_N) / micro / hardware.processes)
    amount = _around(times * one, times * one * train.low_factor, times * one * train.high_factor, spread)
    return EstimateLine(label="validation", amount=amount, unit="s", source=f"{times} times {len(validation.lengths_N):,} rows, one pass")


def _checkpoints(spec: JobSpec, training: Mapping[str, Any], shape: ModelShape, steps: int) -> EstimateLine:
    every = int(training.get("checkpoint_steps") or steps)
    times = max(1, steps // every) + 1
    trained = shape.parameters if isinstance(spec.tuning, FullFineTune) else _adapted(spec, shape)
    size = trained * 12  # weights and two moments in 32 bits
    amount = Range(low=times * (0.1 + size / 2e9), likely=times * (0.5 + size / 0.7e9), high=times * (2 + size / 0.15e9))
    return EstimateLine(label="checkpoints", amount=amount, unit="s", source=f"{times} of {size / 1e9:.2f} GB at 0.15 to 2 GB/s")


def _memory(
    spec: JobSpec,
    training: Mapping[str, Any],
    hardware: PlannedHardware,
    device: Device,
    shape: ModelShape,
    train: RowTokens,
    calibration: Calibration | None,
) -> MemoryEstimate:
    tuning = spec.tuning
    is_full = isinstance(tuning, FullFineTune)
    micro, pair = int(training.get("micro_batch_size", 1)), 2 if isinstance(spec.method, DPO) else 1
    longest = train.longest * (1.0 if train.is_exact else min(1.15, train.high_factor))
    if spec.max_length is not None:
        longest = min(longest, spec.max_length)
    dtype = training.get("dtype") or spec.dtype or "bfloat16"
    memory = TrainingMemory(
        longest_tokens=micro * pair * longest,
        tuning=spec.tuning.kind,
        recomputes=hardware.device != "cpu",
        rank=1 if isinstance(tuning, FullFineTune) else tuning.rank,
        adapted=None if is_full else _adapted(spec, shape),
        double_quantization=isinstance(tuning, QLoRA) and tuning.double_quantization,
        # Weights that move are held in 32 bits.
        weight_bytes=4.0 if is_full or dtype == "float32" else 2.0,
    )
    constants = memory_constants()
    if hardware.device != "cuda":
        constants = replace(constants, context_gb=0.8)  # Python with its libraries
    peak = peak_memory(memory, shape, constants)
    offset = 0.0 if calibration is None else calibration.memory_offset_gb
    peak = replace(peak, context=max(0.0, peak.context + offset * 1e9), spread=peak.spread if calibration is None else 0.08)
    spread, likely = peak.spread, peak.likely
    amount = Range(low=likely * math.exp(-_Z80 * spread) / 1e9, likely=likely / 1e9, high=likely * math.exp(_Z80 * spread) / 1e9)
    there = hardware.memory_gib or device.memory_gib
    source = calibration.source if calibration is not None else constants.source
    parts = {
        "weights": peak.weights,
        "gradients and optimizer": peak.states,
        "activations": peak.activations,
        "logits": peak.logits,
        "context": peak.context,
    }
    lines = tuple(
        EstimateLine(label=label, amount=Range(low=size / 1e9, likely=size / 1e9, high=size / 1e9), unit="GB", source=source)
        for label, size in parts.items()
    )
    if there is None:
        return MemoryEstimate(peak_gb=amount, verdict="unknown", offset_gb=offset, lines=lines)
    return MemoryEstimate(
        peak_gb=amount,
        there_gib=there,
        offset_gb=offset,
        verdict=verdict(peak, there),
        largest_micro_batch=largest_batch(memory, shape, there - offset * 1e9 / _GIB, row_tokens=pair * longest, constants=constants),
        lines=lines,
    )


def _adapted(spec: JobSpec, shape: ModelShape) -> float:
    """Parameters of the adapters: rank x (inputs + outputs) of each linear layer that gets one."""
    if isinstance(spec.tuning, FullFineTune):
        return shape.parameters
    width, inner, narrow = shape.width, shape.inner, shape.key_width
    sizes = {
        "q_proj": 2 * width,
        "k_proj": width + narrow,
        "v_proj": width + narrow,
        "o_proj": 2 * width,
        "gate_proj": width + inner,
        "up_proj": width + inner,
        "down_proj": width + inner,
    }
    chosen = spec.tuning.target_modules
    total = sum(sizes.values()) if chosen is None else sum(sizes.get(name, 2 * width) for name in chosen)
    return float(spec.tuning.rank * shape.layers * total)


# Money.


def _by_time(found: Estimate, plan: Plan, hardware: PlannedHardware, book: PriceBook | None, usd_per_hour: Decimal | None) -> Estimate:
    if usd_per_hour is not None:
        return _at_rate(found, usd_per_hour, usd_per_hour, f"${usd_per_hour} an hour, as given")
    launch = cast("Mapping[str, Any]", plan.request.get("launch", {}))
    gpus = launch.get("gpu")
    if not gpus:
        return _as_planned(found, plan) if plan.cost is not None else found.replace(cost_note=plan.cost_note)
    book = PriceBook.load() if book is None else book
    try:
        hourly = _hourly(plan.backend, str(gpus[0]), launch, hardware, book)
    except SpecError as error:
        return _as_planned(found, plan).replace(notes=(*found.notes, f"cost as the backend plans it: {error}"))
    most = Decimal(str(launch["usd_per_s"])) * 3600 if "usd_per_s" in launch else hourly.usd
    if launch.get("region"):
        return _at_rate(found, most, most, f"at most ${most:.2f} an hour in the region {launch['region']}; {hourly.charges[0].price.cited}")
    # Each line has its own price; here once what they come to, and where they were read.
    pages = "; ".join(dict.fromkeys(charge.price.cited for charge in hourly.charges))
    prices = f"${hourly.usd:.2f} an hour for {', '.join(charge.label for charge in hourly.charges)}; {pages}"
    return _at_rate(found, hourly.usd, max(most, hourly.usd), prices, bill=hourly)


def _hourly(provider: str, gpu: str, launch: Mapping[str, Any], hardware: PlannedHardware, book: PriceBook) -> Bill:
    name = gpu.split(":")[0].rstrip("!+")
    hosts = int(launch.get("nodes", 1))
    core = book.find(provider, "cpu/physical-core")
    memory = book.find(provider, "memory/gib")
    return per_second_gpu_cost(
        seconds=3600,
        gpus=hardware.processes,
        price=gpu_price({"A100": "A100-40GB"}.get(name, name), provider, book=book),
        cores=float(launch.get("cpu") or 0) * hosts if core else 0,
        core_price=core,
        memory_gib=float(launch.get("memory_mib") or 0) / 1024 * hosts if memory else 0,
        memory_price=memory,
    )


def _at_rate(found: Estimate, usd_per_hour: Decimal, most: Decimal, source: str, *, bill: Bill | None = None) -> Estimate:
    accrual = Accrual(kind="per_hour", usd=most, fixed_usd=Decimal(0), source=source)
    if found.seconds is None:
        return found.replace(accrual=accrual, cost_note=f"${usd_per_hour:.2f} an hour; how long it takes isn't known")
    hours = found.seconds
    cost = CostRange(
        low=_cents(usd_per_hour * _exact(hours.low) / 3600),
        likely=_cents(usd_per_hour * _exact(hours.likely) / 3600),
        high=_cents(most * _exact(hours.high) / 3600),
        source=source,
    )
    charges = [(c.label, c.usd, str(c.price)) for c in bill.charges] if bill is not None else [("hardware", usd_per_hour, source)]
    lines = tuple(EstimateLine(label=label, amount=_scaled(hours, float(usd) / 3600), unit="usd", source=price) for label, usd, price in charges)
    return found.replace(cost=cost, cost_lines=lines, accrual=accrual)


def _by_tokens(
    found: Estimate, plan: Plan, facts: ModelFacts, train: RowTokens, validation: RowTokens | None, book: PriceBook, rule: BillingRule
) -> Estimate:
    create = cast("Mapping[str, Any]", plan.request.get("create", {}))
    spec = plan.spec
    billed = _billed(spec, create, plan, train, validation, rule)
    if billed is None:
        note = "without packing every row is billed at full length, which isn't known offline: set max_length"
        return found.replace(cost_note=plan.cost_note, notes=(note,))
    method, tuning = kind_of(spec)
    shape = shape_of(facts)
    billion = None if shape is None else shape.parameters / 1e9
    price = finetune_price(book, plan.backend, spec.model.id, method=method, tuning=tuning, billion=billion)
    found = found.replace(billed_tokens=billed)
    if price is None:
        return found.replace(cost_note=plan.cost_note, notes=("no source tells the service's price for this model", ASKED_LATER))
    minimum = finetune_minimum(book, plan.backend, spec.model.id)
    dearest = price.at_most or price.price
    bills = [
        finetune_cost(tokens=math.ceil(count), price=each, minimum=minimum)
        for count, each in ((billed.low, price.price), (billed.likely, price.price), (billed.high, max(price.price, dearest, key=lambda p: p.usd)))
    ]
    source = price.source + (", from before the last known cut: an upper bound" if price.is_upper_bound else "")
    cost = CostRange(low=_cents(bills[0].usd), likely=_cents(bills[1].usd), high=_cents(bills[2].usd), source=source)
    lines = tuple(
        EstimateLine(
            label=charge.label,
            amount=Range(low=float(charge.usd), likely=float(charge.usd), high=float(charge.usd)),
            unit="usd",
            source=str(charge.price),
        )
        for charge in bills[1].charges
    )
    accrual = Accrual(kind="per_share", usd=bills[1].usd, fixed_usd=minimum.usd if minimum else Decimal(0), source=source)
    return found.replace(
        cost=cost,
        cost_lines=lines,
        accrual=accrual,
        notes=(*found.notes, ASKED_LATER),
    )


def _billed(spec: JobSpec, create: Mapping[str, Any], plan: Plan, train: RowTokens, validation: RowTokens | None, rule: BillingRule) -> Range | None:
    epochs = float(create.get("n_epochs", spec.epochs))
    packing = bool(create.get("packing", True)) or not rule.are_unpacked_rows_padded
    limit = create.get("max_seq_length") or next((a.chosen for a in plan.adjustments if a.field == "max_length"), None)
    if not packing and limit is None:
        return None
    times = int(create.get("n_evals", 0)) if rule.are_evaluations_billed and validation is not None else 0

    def tokens(factor: float, eval_factor: float) -> float:
        return together_finetune_tokens(
            train_tokens=math.ceil(train.total * factor),
            epochs=epochs,
            rows=spec.train.rows,
            max_length=limit,
            packing=packing,
            validation_tokens=math.ceil(validation.total * eval_factor) if validation is not None else 0,
            evaluations=times,
        )

    of = validation or train
    return Range(low=tokens(train.low_factor, of.low_factor), likely=tokens(1.0, 1.0), high=tokens(train.high_factor, of.high_factor))


def _as_planned(found: Estimate, plan: Plan) -> Estimate:
    if plan.cost is None:
        return found.replace(cost_note=plan.cost_note)
    accrual = Accrual(kind="per_share", usd=plan.cost.likely, fixed_usd=Decimal(0), source=plan.cost.source)
    return found.replace(cost=plan.cost, accrual=accrual)


# Ranges.


def _around(likely: float, low: float, high: float, spread: float) -> Range:
    """Join an interval of the input with the spread of the model: independent, so their logarithms add as squares."""
    below = math.hypot(math.log(likely / low), _Z80 * spread) if low > 0 else _Z80 * spread
    above = math.hypot(math.log(high / likely), _Z80 * spread)
    return Range(low=likely * math.exp(-below), likely=likely, high=likely * math.exp(above))


def _sum(parts: list[Range]) -> Range:
    """Add independent parts: their distances from the likely add as squares."""
    likely = sum(part.likely for part in parts)
    below = math.sqrt(sum((part.likely - part.low) ** 2 for part in parts))
    above = math.sqrt(sum((part.high - part.likely) ** 2 for part in parts))
    return Range(low=max(0.0, likely - below), likely=likely, high=likely + above)


def _scaled(amount: Range, factor: float) -> Range:
    return Range(low=amount.low * factor, likely=amount.likely * factor, high=amount.high * factor)


def _exact(amount: float) -> Decimal:
    return Decimal(str(amount))


def _cents(amount: Decimal) -> Decimal:
    """Rounded up to a hundredth of a cent: what costs anything is never shown as nothing."""
    from decimal import ROUND_CEILING

    return amount.quantize(Decimal("0.0001"), rounding=ROUND_CEILING)
