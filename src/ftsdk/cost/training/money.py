"""What a training costs, from how its plan says that it is billed.

The only place where the cost of a run is computed.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal
from typing import assert_never

from ftsdk._format import money
from ftsdk.cost.pricebook.price import rate as unit_price
from ftsdk.cost.training.ranges import exactly, multiplied
from ftsdk.cost.training.tokens import RowTokens
from ftsdk.protocol import FixedPrice, HourlyBilling, NotBilled, Plan, Rate, TokenBilling
from ftsdk.protocol.estimates import QUOTED_LATER, BillingTerms, CostRange, Estimate, EstimateLine, Range

__all__ = ["priced"]

_MTOK = 1_000_000
_CENT = Decimal("0.01")


def priced(
    found: Estimate, plan: Plan, train: RowTokens, validation: RowTokens | None, *, usd_per_hour: Decimal | None = None
) -> Estimate:
    """Add the cost to an estimate.

    Args:
        found: With its tokens, and its time where time is billed.
        plan: The backend's plan.
        train: Tokens of the training rows.
        validation: Tokens of the validation rows.
        usd_per_hour: US dollars that an hour of the hardware costs, in place of the plan's rates; None: the plan's.
    """
    billing = plan.billing
    if usd_per_hour is not None:
        limits = billing if isinstance(billing, HourlyBilling) else None
        return _by_time(found, plan, _at_rate(usd_per_hour, limits))
    match billing:
        case None:
            return found
        case NotBilled():
            return found.replace(cost_note=billing.note)
        case FixedPrice():
            terms = BillingTerms(
                kind="per_share", usd=billing.cost.likely, fixed_usd=Decimal(0), source=billing.cost.source
            )
            return found.replace(cost=billing.cost, billing_terms=terms)
        case HourlyBilling():
            return _by_time(found, plan, billing)
        case TokenBilling():
            return _by_tokens(found, plan, billing, train, validation)
        case _:
            assert_never(billing)


def _at_rate(usd_per_hour: Decimal, limits: HourlyBilling | None) -> HourlyBilling:
    """Return billing at a rate that the user gave, within the limits of the plan's own."""
    source = f"{money(usd_per_hour)} an hour, as given"
    rates = (Rate(label="hardware", usd=usd_per_hour, source=source),)
    if limits is None:
        return HourlyBilling(rates=rates, most_usd_per_hour=usd_per_hour, source=source)
    return limits.replace(rates=rates, most_usd_per_hour=usd_per_hour, source=source, note="", most_usd=None)


def _by_time(found: Estimate, plan: Plan, billing: HourlyBilling) -> Estimate:
    hourly, seconds = billing.usd_per_hour, found.seconds
    most = max(billing.most_usd_per_hour, hourly)
    source = _rates_text(billing)
    terms = BillingTerms(kind="per_hour", usd=most, fixed_usd=Decimal(0), start_s=billing.start_s, source=source)
    if seconds is None:
        if billing.most_usd is not None:
            note = f"{billing.note}; what is likely is known only where the time can be estimated"
        else:
            note = f"{money(hourly, places=2)} an hour; how long it takes isn't known"
        return found.replace(billing_terms=terms, cost_note=note)
    cost = CostRange(
        low=_rounded_up(hourly * _exact(seconds.low) / 3600),
        likely=_rounded_up(hourly * _exact(seconds.likely) / 3600),
        high=_rounded_up(most * _exact(seconds.high) / 3600),
        source=source,
    )
    lines = tuple(
        EstimateLine(
            label=rate.label, amount=multiplied(seconds, float(rate.usd) / 3600), unit="usd", source=rate.source
        )
        for rate in billing.rates
    )
    notes = (*_cut_off(seconds, plan, billing), *found.notes)
    return found.replace(cost=cost, cost_lines=lines, billing_terms=terms, notes=notes)


def _rates_text(billing: HourlyBilling) -> str:
    """Name the rate of an hour, what it is for, and where its prices were read.

    Each line of the cost has its own price.
    """
    hourly, most = billing.usd_per_hour, billing.most_usd_per_hour
    if all(rate.source == billing.source for rate in billing.rates):
        return billing.source
    dearer = f" (up to {money(most, places=2)} if the provider gives a dearer card)" if most - hourly >= _CENT else ""
    return (
        f"{money(hourly, places=2)} an hour for "
        f"{', '.join(rate.label for rate in billing.rates)}{dearer}; {billing.source}"
    )


def _cut_off(seconds: Range, plan: Plan, billing: HourlyBilling) -> tuple[str, ...]:
    """Warn if all attempts together, each as long as it may be, don't hold the time that the run takes."""
    timeout, attempts = billing.timeout_s, billing.max_attempts
    if timeout is None or seconds.high <= timeout * attempts:
        return ()
    takes = (
        f"is likely to be cut off: it likely takes {seconds.likely:,.0f} s"
        if seconds.likely > timeout * attempts
        else f"may be cut off: it may take {seconds.high:,.0f} s"
    )
    allowed = f"{timeout:,.0f} s" if attempts == 1 else f"{attempts} attempts of {timeout:,.0f} s"
    budget = plan.spec.budget_usd
    why, more = (
        ("it is allowed", "timeout_s or max_attempts")
        if budget is None
        else (f"budget_usd={budget} allows it", "budget_usd")
    )
    return (
        f"the run {takes}, and {why} {allowed}. Raise {more}, or train on less; what a run that is cut off keeps is "
        "its newest whole checkpoint",
    )


def _by_tokens(
    found: Estimate, plan: Plan, billing: TokenBilling, train: RowTokens, validation: RowTokens | None
) -> Estimate:
    billed = _billed(plan.spec.train.rows, billing, train, validation)
    if billed is None:
        note = "without packing every row is billed at full length, which isn't known offline: set max_length"
        return found.replace(cost_note=billing.note, notes=(*found.notes, note))
    found = found.replace(billed_tokens=billed, notes=(*found.notes, QUOTED_LATER))
    rate = billing.usd_per_mtok
    if rate is None:
        return found.replace(
            cost_note=billing.note,
            notes=(*found.notes[:-1], "no source has the service's price for this model", QUOTED_LATER),
        )
    dearest = max(rate, billing.most_usd_per_mtok or rate, key=lambda one: one.usd)
    low, likely, high = (
        _for_tokens(count, one.usd)
        for count, one in ((billed.low, rate), (billed.likely, rate), (billed.high, dearest))
    )
    lines = [
        EstimateLine(
            label=rate.label,
            amount=exactly(float(likely)),
            unit="usd",
            source=f"{unit_price(rate.usd)} per million training tokens ({rate.source})",
        )
    ]
    least, minimum = Decimal(0), billing.minimum
    if minimum is not None:
        least = minimum.usd
        if least > likely:
            missing = exactly(float(least - likely))
            lines.append(
                EstimateLine(
                    label=minimum.label,
                    amount=missing,
                    unit="usd",
                    source=f"{unit_price(least)} per job ({minimum.source})",
                )
            )
    cost = CostRange(
        low=_rounded_up(max(least, low)),
        likely=_rounded_up(max(least, likely)),
        high=_rounded_up(max(least, high)),
        source=rate.source,
    )
    terms = BillingTerms(kind="per_share", usd=max(least, likely), fixed_usd=least, source=rate.source)
    return found.replace(cost=cost, cost_lines=tuple(lines), billing_terms=terms)


def _billed(rows: int, billing: TokenBilling, train: RowTokens, validation: RowTokens | None) -> Range | None:
    """Return the tokens that are billed; None if they aren't known offline."""
    if billing.pads_rows and billing.row_tokens is None:
        return None

    def tokens(factor: float, eval_factor: float) -> int:
        once = math.ceil(train.total * factor) if billing.row_tokens is None else rows * billing.row_tokens
        evaluated = 0 if validation is None else math.ceil(validation.total * eval_factor)
        return math.ceil(once * _exact(billing.epochs)) + evaluated * billing.evaluations

    of = validation or train
    return Range(
        low=tokens(train.low_factor, of.low_factor),
        likely=tokens(1.0, 1.0),
        high=tokens(train.high_factor, of.high_factor),
    )


def _for_tokens(tokens: float, usd_per_mtok: Decimal) -> Decimal:
    return math.ceil(tokens) * usd_per_mtok / _MTOK


def _exact(amount: float) -> Decimal:
    return Decimal(str(amount))


def _rounded_up(amount: Decimal) -> Decimal:
    """Round up to a hundredth of a cent: what costs anything is never shown as nothing."""
    return amount.quantize(Decimal("0.0001"), rounding=ROUND_CEILING)
