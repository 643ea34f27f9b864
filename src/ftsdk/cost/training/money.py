"""What a training costs: by time where a place bills time, by tokens where a service bills them, else as its plan says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, cast

from ftsdk.cost.facts.shapes import shape_of
from ftsdk.cost.pricebook.billing import Bill, finetune_cost, per_second_gpu_cost, together_finetune_tokens
from ftsdk.cost.pricebook.book import BillingRule, PriceBook
from ftsdk.cost.pricebook.finetune_prices import finetune_minimum, finetune_price, kind_of
from ftsdk.cost.pricebook.gpu_prices import gpu_price
from ftsdk.cost.training.ranges import exactly, multiplied
from ftsdk.cost.training.tokens import RowTokens
from ftsdk.errors import SpecError
from ftsdk.models import ModelFacts
from ftsdk.protocol import Plan
from ftsdk.protocol.estimates import ASKED_LATER, Accrual, CostRange, Estimate, EstimateLine, PlannedHardware, Range
from ftsdk.spec import JobSpec

__all__ = ["as_planned", "by_time", "by_tokens"]


def by_time(found: Estimate, plan: Plan, hardware: PlannedHardware, book: PriceBook | None, usd_per_hour: Decimal | None) -> Estimate:
    """Cost of time at the place's prices, or at a price that was given.

    Args:
        found: With its time.
        plan: As the backend gave it.
        hardware: Of the plan.
        book: Prices; None loads all layers where a price is needed.
        usd_per_hour: What an hour costs, where the place itself bills nothing.
    """
    priced = _as_billed(_costing(found, plan, hardware, book, usd_per_hour), plan)
    return priced.replace(notes=(*_cut_off(priced, plan), *priced.notes))


def _cut_off(found: Estimate, plan: Plan) -> tuple[str, ...]:
    """Say if all attempts together, as long as the place lets each of them be, don't hold the time that the run takes."""
    launch = cast("Mapping[str, Any]", plan.request.get("launch", {}))
    if found.seconds is None or not {"timeout_s", "max_attempts"} <= launch.keys():
        return ()
    timeout, attempts = int(launch["timeout_s"]), int(launch["max_attempts"])
    if found.seconds.high <= timeout * attempts:
        return ()
    likely, high = found.seconds.likely, found.seconds.high
    takes = (
        f"is likely to be cut off: it likely takes {likely:,.0f} s" if likely > timeout * attempts else f"may be cut off: it may take {high:,.0f} s"
    )
    allowed = f"{timeout:,} s" if attempts == 1 else f"{attempts} attempts of {timeout:,} s"
    why = f"budget_usd={plan.spec.budget_usd} allows it" if plan.spec.budget_usd is not None else "it is allowed"
    more = "budget_usd" if plan.spec.budget_usd is not None else "timeout_s or max_attempts"
    return (f"the run {takes}, and {why} {allowed}. Raise {more}, or train on less; what a run that is cut off keeps is its newest whole checkpoint",)


def _costing(found: Estimate, plan: Plan, hardware: PlannedHardware, book: PriceBook | None, usd_per_hour: Decimal | None) -> Estimate:
    if usd_per_hour is not None:
        return _at_rate(found, usd_per_hour, usd_per_hour, f"${usd_per_hour} an hour, as given")
    launch = cast("Mapping[str, Any]", plan.request.get("launch", {}))
    if "usd_per_hour" in launch:
        price = Decimal(launch["usd_per_hour"])
        return _at_rate(found, price, price, plan.cost_note)
    gpus = launch.get("gpu")
    if not gpus and "usd_per_s" not in launch:
        return as_planned(found, plan) if plan.cost is not None else found.replace(cost_note=plan.cost_note)
    book = PriceBook.load() if book is None else book
    try:
        hourly = _hourly(plan.backend, str(gpus[0]) if gpus else None, launch, hardware, book)
    except SpecError as error:
        return as_planned(found, plan).replace(notes=(*found.notes, f"cost as the backend plans it: {error}"))
    most = Decimal(str(launch["usd_per_s"])) * 3600 if "usd_per_s" in launch else hourly.usd
    if launch.get("region"):
        return _at_rate(found, most, most, f"at most ${most:.2f} an hour in the region {launch['region']}; {hourly.charges[0].price.cited}")
    # Each line has its own price; here once what they come to, and where they were read.
    dearer = f" (up to ${most:.2f} if the place gives a dearer card)" if most - hourly.usd >= Decimal("0.01") else ""
    prices = f"${hourly.usd:.2f} an hour for {', '.join(charge.label for charge in hourly.charges)}{dearer}; {_pages(hourly)}"
    return _at_rate(found, hourly.usd, max(most, hourly.usd), prices, bill=hourly)


def _as_billed(found: Estimate, plan: Plan) -> Estimate:
    """Let the cost grow as the place bills it: by the second where the launch has such a price, the start included."""
    launch = cast("Mapping[str, Any]", plan.request.get("launch", {}))
    if "usd_per_s" in launch and found.cost is None and plan.cost is None and plan.cost_note:
        # It has the rate, and what the launch's limits make of it at most.
        found = found.replace(cost_note=plan.cost_note)
    accrual = found.accrual
    if accrual is None or "usd_per_s" not in launch:
        return found
    if accrual.kind == "per_share":
        accrual = Accrual(kind="per_hour", usd=Decimal(str(launch["usd_per_s"])) * 3600, fixed_usd=Decimal(0), source=accrual.source)
    return found.replace(accrual=accrual.replace(start_s=float(launch.get("startup_timeout_s", 0))))


def _pages(bill: Bill) -> str:
    """Where the prices of a bill were read: a page once with its days, and what a reader has to know of a price beside it."""
    days: dict[str, list[str]] = {}
    special: list[str] = []
    for price in dict.fromkeys(charge.price for charge in bill.charges):
        if price.cited == f"{price.source}, as of {price.as_of}":
            days.setdefault(price.source, []).append(str(price.as_of))
        else:
            special.append(price.cited)
    plain = [f"{page}, as of {min(read)}" + (f" to {max(read)}" if min(read) < max(read) else "") for page, read in days.items()]
    return "; ".join([*plain, *special])


def _hourly(provider: str, gpu: str | None, launch: Mapping[str, Any], hardware: PlannedHardware, book: PriceBook) -> Bill:
    """What an hour costs: of GPUs, cores and memory, or without a GPU of the other two."""
    name = None if gpu is None else gpu.split(":")[0].rstrip("!+")
    hosts = int(launch.get("nodes", 1))
    core = book.find(provider, "cpu/physical-core")
    memory = book.find(provider, "memory/gib")
    return per_second_gpu_cost(
        seconds=3600,
        gpus=0 if name is None else hardware.processes,
        price=None if name is None else gpu_price({"A100": "A100-40GB"}.get(name, name), provider, book=book),
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
    lines = tuple(EstimateLine(label=label, amount=multiplied(hours, float(usd) / 3600), unit="usd", source=price) for label, usd, price in charges)
    return found.replace(cost=cost, cost_lines=lines, accrual=accrual)


def by_tokens(
    found: Estimate, plan: Plan, facts: ModelFacts, train: RowTokens, validation: RowTokens | None, book: PriceBook, rule: BillingRule
) -> Estimate:
    """Cost of the tokens that a service bills by its rule, its minimum included.

    Args:
        found: With its tokens.
        plan: As the backend gave it.
        facts: Of the model.
        train: Tokens of the training rows.
        validation: Tokens of the validation rows.
        book: Prices.
        rule: How the service bills.
    """
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
            amount=exactly(float(charge.usd)),
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


def as_planned(found: Estimate, plan: Plan) -> Estimate:
    """Cost as the backend's plan says it."""
    if plan.cost is None:
        return found.replace(cost_note=plan.cost_note)
    accrual = Accrual(kind="per_share", usd=plan.cost.likely, fixed_usd=Decimal(0), source=plan.cost.source)
    return found.replace(cost=plan.cost, accrual=accrual)


def _exact(amount: float) -> Decimal:
    return Decimal(str(amount))


def _cents(amount: Decimal) -> Decimal:
    """Rounded up to a hundredth of a cent: what costs anything is never shown as nothing."""
    return amount.quantize(Decimal("0.0001"), rounding=ROUND_CEILING)
