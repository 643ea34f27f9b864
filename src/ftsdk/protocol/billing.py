"""What a backend bills for a planned run, and at which prices. Backends fill it in, `ftsdk.cost` reads it."""

from __future__ import annotations

from abc import ABC
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from ftsdk.protocol.estimates import CostRange
from ftsdk.spec import Value
from ftsdk.spec.base import OptionalUsd, UnionMember, Usd, usd_default

__all__ = ["AnyBilling", "Billing", "FixedPrice", "HourlyBilling", "NotBilled", "Rate", "TokenBilling"]

Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class Rate(Value):
    """A price that a plan uses."""

    label: str
    """What is billed, such as `GPU`."""
    usd: Usd
    """US dollars per unit; the name of the field that has the rate states the unit."""
    source: str
    """Where the price was read, and on which day."""


class AnyBilling(UnionMember, ABC):
    """The base class of all kinds of billing."""

    note: str = ""
    """What is known about the cost before tokens and time are estimated."""


class NotBilled(AnyBilling):
    """Nothing is billed, for the reason in the note."""

    kind: Literal["not_billed"] = "not_billed"


class FixedPrice(AnyBilling):
    """The backend knows what the whole run costs."""

    kind: Literal["fixed"] = "fixed"
    cost: CostRange


class HourlyBilling(AnyBilling):
    """Time is billed."""

    kind: Literal["per_hour"] = "per_hour"
    rates: Annotated[tuple[Rate, ...], Field(min_length=1)]
    """The prices of an hour, by what is billed, for all devices and hosts together."""
    most_usd_per_hour: Usd
    """US dollars an hour at most, for example if a more expensive card may be assigned."""
    most_usd: OptionalUsd = usd_default(None)
    """US dollars at most for all attempts together; None: no limit."""
    source: str
    """Where the prices were read."""
    start_s: Seconds = 0.0
    """The most seconds that the start of an attempt may take, if the start is billed."""
    timeout_s: Seconds | None = None
    """Seconds after which an attempt is ended; None: no limit."""
    max_attempts: Annotated[int, Field(ge=1)] = 1

    @property
    def usd_per_hour(self) -> Decimal:
        """US dollars an hour, all rates together."""
        return sum((rate.usd for rate in self.rates), Decimal(0))


class TokenBilling(AnyBilling):
    """Training tokens are billed."""

    kind: Literal["per_token"] = "per_token"
    usd_per_mtok: Rate | None = None
    """Per million training tokens; None: no source has the price for this model."""
    most_usd_per_mtok: Rate | None = None
    """Per million training tokens at most, if the price isn't certain; None: it is certain."""
    minimum: Rate | None = None
    """The minimum per job; None: there is none."""
    epochs: Annotated[float, Field(gt=0)]
    """How often the training tokens are billed."""
    evaluations: Count = 0
    """How often the validation tokens are billed."""
    pads_rows: bool = False
    """Whether each row is billed at full length."""
    row_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens that each row is billed at if rows are padded; None: not known offline."""


Billing = Annotated[NotBilled | FixedPrice | HourlyBilling | TokenBilling, Field(discriminator="kind")]
