"""What an hour of a machine costs its user, who says so."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from ftsdk._format import money
from ftsdk._numbers import as_json_number, exact_amount, quoted_amount
from ftsdk.errors import SpecError
from ftsdk.protocol import Billing, HourlyBilling, NotBilled, Rate
from ftsdk.spec import JobSpec
from ftsdk.spec.amounts import check_amount

__all__ = ["billing_by_hour", "hourly_price", "price_in", "with_price"]


def hourly_price(usd_per_hour: object) -> Decimal:
    """Return a price that the user gave, exactly.

    Raises:
        SpecError: It isn't a valid price.
    """
    usd_per_hour = quoted_amount(usd_per_hour)
    check_amount("usd_per_hour", usd_per_hour, above=0, at_most=1e6)
    # 3 and 3.0 are one price, also as text.
    return Decimal(f"{exact_amount(cast('Decimal | float', usd_per_hour)).normalize():f}")


def with_price(arguments: Mapping[str, Any], usd_per_hour: Decimal | None) -> dict[str, Any]:
    """Return a backend's arguments with what an hour costs, if that is known."""
    return dict(arguments) if usd_per_hour is None else {**arguments, "usd_per_hour": as_json_number(usd_per_hour)}


def price_in(request: Mapping[str, Any], *, key: str = "usd_per_hour") -> Decimal | None:
    """Return what an hour costs by a run's launch request; None if it doesn't say.

    Raises:
        SpecError: It isn't a valid price.
    """
    price = request.get(key)
    try:
        return None if price is None else hourly_price(Decimal(str(price)))
    except ArithmeticError as error:
        raise SpecError(f"usd_per_hour is {price!r}, which is no price") from error


def billing_by_hour(
    spec: JobSpec, usd_per_hour: Decimal | None, *, what: str, argument: str, timeout_s: float | None = None
) -> Billing:
    """Return what is billed.

    Args:
        spec: The job, for its budget.
        usd_per_hour: US dollars; None: nothing is billed.
        what: Who bills nothing: `this machine`.
        argument: Where the price comes from: `Local(usd_per_hour=)`.
        timeout_s: Seconds after which an attempt is ended; None: no limit.
    """
    if usd_per_hour is not None:
        source = f"{money(usd_per_hour)} an hour, from {argument}"
        rate = Rate(label="hardware", usd=usd_per_hour, source=source)
        return HourlyBilling(
            rates=(rate,), most_usd_per_hour=usd_per_hour, source=source, note=source, timeout_s=timeout_s
        )
    note = f"{what} bills nothing"
    if spec.budget_usd is not None:
        note += f", so budget_usd={spec.budget_usd} has no effect; pass {argument} to set a price"
    return NotBilled(note=note)
