"""One dated price: what, for how much, by whom, read when."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ftsdk._rich_text import rich_text
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import OptionalPositiveUsd, PositiveUsd, nearest, usd_default

__all__ = ["GPU_TIME", "Amount", "Day", "Layer", "Offer", "OptionalAmount", "Price", "Tier", "Unit", "rate"]


def _number(amount: object) -> object:
    """Read an amount that was quoted to keep all of its digits."""
    if isinstance(amount, str):
        try:
            return Decimal(amount)
        except InvalidOperation:
            return amount
    return amount


Amount = Annotated[PositiveUsd, BeforeValidator(_number)]
"""US dollars, more than 0."""
OptionalAmount = Annotated[OptionalPositiveUsd, BeforeValidator(_number)]
"""US dollars, more than 0, or None."""


def _day(day: object) -> object:
    """Read a day as files write it; one that isn't a day is left for validation to refuse."""
    if isinstance(day, str):
        try:
            return date.fromisoformat(day)
        except ValueError:
            return day
    return day


Day = Annotated[date, BeforeValidator(_day), PlainSerializer(str, return_type=str, when_used="json")]
"""A day, in files and JSON as `2026-11-23`."""

Unit = Literal[
    "usd_per_1m_tokens",
    "usd_per_1m_training_tokens",
    "usd_per_job",
    "usd_per_gpu_hour",
    "usd_per_gpu_second",
    "usd_per_instance_hour",
    "usd_per_core_second",
    "usd_per_gib_second",
    "usd_per_gib_month",
    "usd_per_gb_month",
    "usd_per_month",
    "multiplier",
]
Layer = Literal["packaged", "user", "project", "call"]
Offer = Literal["on-demand", "marketplace", "community", "serverless", "endpoint", "flex-start", "spot"]

_STATUS_WORDS = {"conflict": "sources disagree"}

_WORDS: dict[str, str] = {
    "usd_per_1m_tokens": "per million tokens",
    "usd_per_1m_training_tokens": "per million training tokens",
    "usd_per_job": "per job",
    "usd_per_gpu_hour": "per GPU-hour",
    "usd_per_gpu_second": "per GPU-second",
    "usd_per_instance_hour": "per instance-hour",
    "usd_per_core_second": "per core-second",
    "usd_per_gib_second": "per GiB-second",
    "usd_per_gib_month": "per GiB-month",
    "usd_per_gb_month": "per GB-month",
    "usd_per_month": "per month",
}
GPU_TIME = ("usd_per_gpu_hour", "usd_per_gpu_second", "usd_per_instance_hour")

OLD_AFTER_DAYS = 60
STALE_AFTER_DAYS = 180


class Tier(Value):
    """A cliff: a request with more input tokens than this is billed at this price as a whole, not only above it."""

    above_input_tokens: Annotated[int, Field(gt=0)]
    usd: Amount
    usd_batch: OptionalAmount = usd_default(None)


class Price(Value):
    """What one unit of something costs, in US dollars without tax, with its source and its day.

    A price of 0 can't be built: what is unknown raises, and what is free is left out of a bill by its reader's
    decision.
    """

    provider: Annotated[str, Field(min_length=1)]
    sku: Annotated[str, Field(min_length=1)]
    """What is sold, in the book's words, such as `ft/lora-sft/Qwen/Qwen3.5-9B`."""
    unit: Unit
    usd: Amount
    """US dollars for one unit; a plain factor if the unit is `multiplier`."""
    source: Annotated[str, Field(min_length=1)]
    """Where it was read: an address, or a note that has a name."""
    as_of: Day
    """The day on which the source said so."""
    as_of_precision: Literal["day", "month", "year"] = "day"
    """How exactly that day is known: for a month or a year, `as_of` is its first day."""
    layer: Layer = "packaged"
    """Which book it comes from: this package's, the user's, the project's, or the call's arguments."""
    status: Literal["superseded", "expired", "conflict", "unconfirmed"] | None = None
    """None: current. `conflict`: other sources say otherwise. `superseded` and `expired` are history."""
    valid_from: Day | None = None
    """The first day of an announced price; None: it was in force when it was read."""
    valid_until: Day | None = None
    """The last day, if it is known."""
    verified: Literal["primary", "primary-via-dated-note", "undated-primary", "secondary"] | None = None
    """`primary`: the vendor's own text.

    `primary-via-dated-note`: a public note that says it read the vendor's page that day.
    """
    via: str | None = None
    """Who read the source, if it wasn't read first-hand."""
    note: str | None = None
    gpu: str | None = None
    """On every price of GPU time: the GPU's name, such as `A100-80GB`."""
    form: str | None = None
    """PCIe, SXM or NVL, where one provider sells several."""
    gpus: Annotated[int, Field(gt=0)] | None = None
    """GPUs in the unit: 8 for an instance with eight."""
    offer: Offer | None = None
    """How the GPU is sold: `spot` can be taken away, `endpoint` is for serving only."""
    usd_batch: OptionalAmount = usd_default(None)
    """The same unit through a batch API."""
    usd_min: OptionalAmount = usd_default(None)
    usd_max: OptionalAmount = usd_default(None)
    samples: int | None = None
    """How many offers were seen, if it is the median of a market."""
    min_billion: float | None = None
    max_billion: float | None = None
    """For which sizes of model it holds, in billions of parameters, all experts counted."""
    tiers: tuple[Tier, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Price:
        if self.unit in GPU_TIME and self.gpu is None:
            raise SpecError(f"a price of the unit {self.unit!r} needs 'gpu', the GPU's name")
        first = self.valid_from or self.as_of
        if self.valid_until is not None and self.valid_until < first:
            raise SpecError(f"valid_until {self.valid_until} is before {first}, its first day")
        return self

    @property
    def in_force_from(self) -> date:
        """The first day on which it is known to hold."""
        return self.valid_from or self.as_of

    @property
    def usd_per_gpu_hour(self) -> Decimal:
        """US dollars for one GPU for one hour.

        Raises:
            SpecError: It isn't a price of GPU time.
        """
        if self.unit == "usd_per_gpu_hour":
            return self.usd
        if self.unit == "usd_per_gpu_second":
            return self.usd * 3600
        if self.unit == "usd_per_instance_hour":
            return self.usd / (self.gpus or 1)
        raise SpecError(
            f"{self.provider} {self.sku} is a price {self.words}, not of GPU time; ask for a GPU with gpu_price(gpu, "
            "provider)"
        )

    @property
    def amount(self) -> str:
        """The price with its unit, such as `$0.49 per GPU-hour`."""
        return f"x{self.usd:f}" if self.unit == "multiplier" else f"{rate(self.usd)} {self.words}"

    @property
    def words(self) -> str:
        """The unit in words, such as `per GPU-hour`."""
        return _WORDS.get(self.unit, "times")

    @property
    def cited(self) -> str:
        """Source, day, and whatever a reader has to know before relying on it."""
        day = str(self.as_of)[: {"day": 10, "month": 7, "year": 4}[self.as_of_precision]]
        status = "" if self.status is None else f", {_STATUS_WORDS.get(self.status, self.status)}"
        layer = "" if self.layer == "packaged" else f", from the {self.layer}'s prices"
        return f"{self.source}, as of {day}{status}{layer}"

    def usd_in(self, unit: Unit) -> Decimal:
        """Return the amount if the price has this unit: units can't be mixed by accident.

        Raises:
            SpecError: It has another one.
        """
        if self.unit != unit:
            raise SpecError(
                f"{self.provider} {self.sku} is a price in {self.unit}, not in {unit}: choose a price of that unit"
            )
        return self.usd

    def age_days(self, today: date) -> int:
        """Days since it was read."""
        return (today - self.as_of).days

    def staleness(self, today: date) -> Literal["fresh", "old", "stale"]:
        """`old` over 60 days, `stale` over 180."""
        age = self.age_days(today)
        return "stale" if age > STALE_AFTER_DAYS else "old" if age > OLD_AFTER_DAYS else "fresh"

    def __str__(self) -> str:
        return f"{self.provider} {self.sku}: {self.amount} ({self.cited})"

    __rich__ = rich_text


def rate(usd: Decimal) -> str:
    """Return a price of one unit with all of its digits, as price lists have it: `$0.0000131`."""
    return f"${usd:f}"


def unknown_unit(unit: str) -> SpecError:
    """Return the error for a unit that no price has, with the nearest that exist."""
    return SpecError(f"no price has the unit {unit!r}{nearest(unit, set(Unit.__args__))}")
