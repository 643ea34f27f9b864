"""What is known of a run before it starts: values that plans carry and the ledger keeps.

`ftsdk.cost.training.estimate` computes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, assert_never, cast

from pydantic import Field, model_validator

from ftsdk._format import duration, money
from ftsdk._rich_text import rich_text
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import Usd
from ftsdk.spec.interval import Amount, Range

__all__ = [
    "QUOTED_LATER",
    "BillingTerms",
    "CostRange",
    "Estimate",
    "EstimateLine",
    "MemoryEstimate",
    "PlannedHardware",
    "Quote",
    "Range",
    "StepParts",
    "in_unit",
]

QUOTED_LATER = (
    "submit() requests the service's own quote, which replaces this estimate; job.estimate(live=True) requests it now, "
    "and uploads the data"
)
"""The note of an estimate that a service's own quote will replace; the quote removes it."""


Unit = Literal["tokens", "s", "GB", "usd"]


class CostRange(Value):
    """Cost in US dollars: with 80% confidence between `low` and `high`."""

    low: Usd
    likely: Usd
    high: Usd
    source: str
    """Where the price was read, and on which day."""

    def __str__(self) -> str:
        interval = (
            "" if self.low == self.high else f"80%: {money(self.low, places=2)} to {money(self.high, places=2)}; "
        )
        return f"{money(self.likely, places=2)} ({interval}{self.source})"

    __rich__ = rich_text


class EstimateLine(Value):
    """One part of a sum, and the source of its numbers."""

    label: str
    amount: Range
    unit: Unit
    source: str


class PlannedHardware(Value):
    """The hardware that a worker is planned to run on."""

    device: Literal["cuda", "mps", "cpu"]
    name: str
    """The name that the driver or the provider uses."""
    processes: int = 1
    memory_gib: float | None = None
    """Memory of one device, in GiB; None: not known."""
    has_bfloat16: bool = True
    larger: str = "a device with more memory"
    """How to get more memory, for advice."""


class MemoryEstimate(Value):
    """Peak memory of one device, in GB of 1e9 bytes."""

    peak_gb: Range
    there_gib: float | None = None
    """Memory of the device, in GiB; None: not known."""
    verdict: Literal["fits", "tight", "no", "unknown"]
    """`fits`: with a margin of error. `tight`: likely, without that margin. `no`: likely not."""
    largest_micro_batch: int | None = None
    """How many of the longest rows fit at once, with a margin of error; 0: not even one."""
    fixed_gb: Amount = 0.0
    """The part of the peak that doesn't depend on the rows, before calibration: weights, optimizer states, context."""
    varying_gb: Amount = 0.0
    """The part of the peak that grows with the tokens of a micro-batch, before calibration."""
    lines: tuple[EstimateLine, ...] = ()

    def __str__(self) -> str:
        there = "" if self.there_gib is None else f" of {self.there_gib:.0f} GiB"
        most = (
            "" if self.largest_micro_batch is None else f"; at most {self.largest_micro_batch} rows at a time would fit"
        )
        return f"{self.peak_gb} GB{there}: {self.verdict}{most}"

    __rich__ = rich_text


class StepParts(Value):
    """Seconds of one optimizer step by part, before calibration. Measured steps are compared with it."""

    device_s: Annotated[float, Field(gt=0)]
    """The device: matrix products and memory traffic."""
    host_s: Annotated[float, Field(gt=0)]
    """The host, which launches kernels at the same time."""
    optimizer_s: Amount = 0.0
    """The optimizer's update, after both."""
    overlap: Annotated[float, Field(ge=1)] = 1.0
    """How much device and host overlap. 1: they take turns, as on a CPU that is both.

    The larger it is, the more the slower of the two alone decides.
    """
    tokens: Amount = 0.0
    """Tokens that go through one device: with padding, or without what others share. 0: not counted."""

    @property
    def seconds(self) -> float:
        """Seconds of the whole step."""
        return (self.device_s**self.overlap + self.host_s**self.overlap) ** (1 / self.overlap) + self.optimizer_s


class BillingTerms(Value):
    """How the cost of a run grows while it runs."""

    kind: Literal["per_hour", "per_share"]
    """By time, or by the share of the training that is complete."""
    usd: Usd
    """US dollars an hour, or for the whole training: the most it can be, so that no budget is exceeded unnoticed."""
    fixed_usd: Usd
    """US dollars that are owed as soon as the run starts, such as a minimum charge."""
    start_s: Annotated[float, Field(ge=0)] = 0.0
    """The most seconds that the start of an attempt may take before its first event, if the start is billed."""
    source: str
    """Where the price was read, and on which day."""


class Quote(Value):
    """A provider's own price for a planned run. Requesting a quote spends nothing and starts nothing."""

    usd: Usd
    """US dollars, including the provider's minimum."""
    tokens: Annotated[int, Field(ge=0)] | None = None
    """Tokens that would be billed, training and validation together; None: the provider doesn't state them."""
    source: str
    """Who gave the quote."""
    asked_at: Annotated[float, Field(ge=0, le=1e11)]
    """Seconds since the epoch, UTC."""
    notes: tuple[str, ...] = ()
    """What prevents a run at this price, such as a limit of the account."""

    @property
    def cited(self) -> str:
        """Who gave the quote, and on which day."""
        return f"{self.source}, {datetime.fromtimestamp(self.asked_at, UTC):%Y-%m-%d}"

    def to_native(self) -> dict[str, str]:
        """Return the quote as entries of `RunRef.native`."""
        tokens = {} if self.tokens is None else {"quoted_tokens": str(self.tokens)}
        return {"quoted_usd": str(self.usd), "quoted_by": self.source, "quoted_at": repr(self.asked_at), **tokens}

    @classmethod
    def from_native(cls, native: Mapping[str, str]) -> Quote | None:
        """Return the quote in a ref's `native`; None if there is none, or it can't be read."""
        if "quoted_usd" not in native:
            return None
        tokens = native.get("quoted_tokens")
        try:
            return cls(
                usd=Decimal(native["quoted_usd"]),
                source=native["quoted_by"],
                asked_at=float(native["quoted_at"]),
                tokens=None if tokens is None else int(tokens),
            )
        except (KeyError, ArithmeticError, ValueError, SpecError):
            return None


class Estimate(Value):
    """What a run will take: tokens, time, memory and cost, each with its interval and its source.

    `cost` is None if nothing is billed or no price is known.
    """

    backend: str
    tokens: Range | None = None
    """Tokens of the training rows over all epochs, without padding."""
    tokens_source: str = ""
    billed_tokens: Range | None = None
    """Tokens that the provider bills by its own rules, if it bills tokens."""
    seconds: Range | None = None
    """Wall time from start to end."""
    time_lines: tuple[EstimateLine, ...] = ()
    step: StepParts | None = None
    """An average optimizer step."""
    start_s: Amount | None = None
    """Seconds before the first step if the model is downloaded already, before calibration."""
    checkpoint_s: Amount | None = None
    """Seconds for one checkpoint, before calibration."""
    memory: MemoryEstimate | None = None
    cost: CostRange | None = None
    cost_lines: tuple[EstimateLine, ...] = ()
    cost_note: str = ""
    billing_terms: BillingTerms | None = None
    """How the cost grows while the run is in progress; None: nothing is billed, or it isn't known."""
    notes: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_old_name(cls, data: Any) -> Any:
        """Read estimates written before 2026-11-27, when `billing_terms` was called `accrual`."""
        if isinstance(data, dict) and "accrual" in data and "billing_terms" not in data:
            fields = cast("dict[str, Any]", data)
            return {"billing_terms" if name == "accrual" else name: value for name, value in fields.items()}
        return cast("Any", data)

    def quoted(self, quote: Quote) -> Estimate:
        """Return the estimate with the provider's quote in place of our own cost, which is kept in a note."""
        amount = float(quote.usd)
        owed_at_once = Decimal(0) if self.billing_terms is None else min(self.billing_terms.fixed_usd, quote.usd)
        tokens = (
            {}
            if quote.tokens is None
            else {"billed_tokens": Range(low=quote.tokens, likely=quote.tokens, high=quote.tokens)}
        )
        ours = str(self.cost) if self.cost is not None else self.cost_note
        kept = tuple(note for note in self.notes if note != QUOTED_LATER)
        return self.replace(
            cost=CostRange(low=quote.usd, likely=quote.usd, high=quote.usd, source=quote.cited),
            cost_lines=(
                EstimateLine(
                    label="the whole run",
                    amount=Range(low=amount, likely=amount, high=amount),
                    unit="usd",
                    source=quote.cited,
                ),
            ),
            cost_note="",
            billing_terms=BillingTerms(kind="per_share", usd=quote.usd, fixed_usd=owed_at_once, source=quote.cited),
            notes=(*kept, *quote.notes, f"the quote replaces our own estimate: {ours or 'unknown'}"),
            **tokens,
        )

    def rows(self) -> list[tuple[str, str]]:
        """Return the estimate as rows of heading and text."""
        rows: list[tuple[str, str]] = []
        if self.tokens is not None:
            rows.append(("Tokens", f"{in_unit(self.tokens, 'tokens')}; {self.tokens_source}"))
        if self.billed_tokens is not None:
            rows.append(("Billed", in_unit(self.billed_tokens, "tokens")))
        if self.seconds is not None:
            rows.append(("Time", in_unit(self.seconds, "s")))
        if self.memory is not None:
            rows.append(("Memory", str(self.memory)))
        if self.cost is not None or self.cost_note:
            rows.append(("Cost", self.cost_note if self.cost is None else str(self.cost)))
        return rows

    @property
    def parts(self) -> dict[str, tuple[EstimateLine, ...]]:
        """The parts that time, memory and cost are made of, by heading."""
        return {
            "Time": self.time_lines,
            "Memory": () if self.memory is None else self.memory.lines,
            "Cost": self.cost_lines,
        }

    def __str__(self) -> str:
        from ftsdk.protocol.estimate_text import estimate_text

        return estimate_text(self)

    __rich__ = rich_text

    def to_html(self) -> str:
        """Return the estimate as an HTML fragment."""
        from ftsdk.protocol.estimate_text import estimate_html

        return estimate_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()


def in_unit(amount: Range, unit: Unit) -> str:
    """Return a range as text, in the usual notation of its unit."""

    def write(value: float) -> str:
        match unit:
            case "s":
                return duration(value)
            case "usd":
                return money(value, places=2)
            case "GB":
                return f"{value:.1f} GB"
            case "tokens":
                return f"{value:,.0f}"
            case _:
                assert_never(unit)

    if amount.low == amount.high:
        return write(amount.likely)
    return f"{write(amount.likely)} (80%: {write(amount.low)} to {write(amount.high)})"
