"""What is known of a run before it starts: values that plans carry and the ledger keeps.

`ftsdk.cost.training.estimate` computes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from ftsdk._format import duration, money
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import Usd
from ftsdk.spec.interval import Amount, Range

__all__ = [
    "QUOTED_LATER",
    "Accrual",
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


class CostRange(Value):
    """Cost in US dollars: with 80 % confidence between `low` and `high`."""

    low: Usd
    likely: Usd
    high: Usd
    source: str
    """Where the price was read, and on which day."""

    def __str__(self) -> str:
        interval = (
            "" if self.low == self.high else f"80 %: {money(self.low, places=2)} to {money(self.high, places=2)}; "
        )
        return f"{money(self.likely, places=2)} ({interval}{self.source})"


class EstimateLine(Value):
    """One part of a sum, and the source of its numbers."""

    label: str
    amount: Range
    unit: Literal["tokens", "s", "GB", "usd"]
    source: str


class PlannedHardware(Value):
    """The hardware that a worker will find, as planned."""

    device: Literal["cuda", "mps", "cpu"]
    name: str
    """The name that the driver or the provider uses."""
    processes: int = 1
    memory_gib: float | None = None
    """Memory of one device, in GiB; None: not known."""
    has_bfloat16: bool = True
    larger: str = "a device with more memory"
    """How to get more memory there, for advice."""


class MemoryEstimate(Value):
    """Peak memory of one device, in GB of 1e9 bytes."""

    peak_gb: Range
    there_gib: float | None = None
    """Memory of the device, in GiB; None: not known."""
    verdict: Literal["fits", "tight", "no", "unknown"]
    """`fits`: with a margin of error. `tight`: likely, without that margin. `no`: likely not."""
    largest_micro_batch: int | None = None
    """The most rows as long as the longest that fit at once, with a margin of error; 0: not even one."""
    fixed_gb: Amount = 0.0
    """Part of the peak, before any calibration, that doesn't depend on the rows: weights, optimizer states, context."""
    varying_gb: Amount = 0.0
    """Part of the peak, before any calibration, that grows with the tokens of a micro-batch."""
    lines: tuple[EstimateLine, ...] = ()

    def __str__(self) -> str:
        there = "" if self.there_gib is None else f" of {self.there_gib:.0f} GiB"
        most = (
            "" if self.largest_micro_batch is None else f"; at most {self.largest_micro_batch} rows at a time would fit"
        )
        return f"{self.peak_gb} GB{there}: {self.verdict}{most}"


class StepParts(Value):
    """Seconds of one optimizer step by part, before any calibration: what a measured step is compared with."""

    device_s: Annotated[float, Field(gt=0)]
    """The device: matrix products and memory traffic."""
    host_s: Annotated[float, Field(gt=0)]
    """The host: launching kernels, at the same time."""
    optimizer_s: Amount = 0.0
    """The optimizer's update, after both."""
    overlap: Annotated[float, Field(ge=1)] = 1.0
    """How device and host work side by side: 1, they take turns, as on a CPU that is both.

    The larger, the more the slower one alone counts.
    """

    @property
    def seconds(self) -> float:
        """Seconds of the whole step."""
        return (self.device_s**self.overlap + self.host_s**self.overlap) ** (1 / self.overlap) + self.optimizer_s


class Accrual(Value):
    """How the cost of a run grows while it runs."""

    kind: Literal["per_hour", "per_share"]
    """By time, or by the share of the training that is done."""
    usd: Usd
    """US dollars an hour, or for the whole training: at most, so that a budget isn't passed unseen."""
    fixed_usd: Usd
    """US dollars that are owed from the start on, such as a minimum."""
    start_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds that the start of an attempt may take at most, before its first event, where the start is billed."""
    source: str


class Quote(Value):
    """A provider's own price for a planned run. Requesting it spends nothing and starts nothing."""

    usd: Usd
    """US dollars, the provider's minimum included."""
    tokens: Annotated[int, Field(ge=0)] | None = None
    """Tokens that it would bill, training and validation together; None: not given."""
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
        """Return what a ref keeps of the quote, for `RunRef.native`."""
        tokens = {} if self.tokens is None else {"quoted_tokens": str(self.tokens)}
        return {"quoted_usd": str(self.usd), "quoted_by": self.source, "quoted_at": repr(self.asked_at), **tokens}

    @classmethod
    def from_native(cls, native: Mapping[str, str]) -> Quote | None:
        """Return the quote that a ref keeps; None if there is none, or it can't be read."""
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
    """What a run will take, each number with its interval and its source.

    `cost` is None if nothing is billed or no price is known.
    """

    backend: str
    tokens: Range | None = None
    """Tokens of the training rows over all epochs, padding left out."""
    tokens_source: str = ""
    billed_tokens: Range | None = None
    """Tokens that the provider bills by its rule, where it bills tokens."""
    seconds: Range | None = None
    """Wall time from start to end."""
    time_lines: tuple[EstimateLine, ...] = ()
    step: StepParts | None = None
    """An average optimizer step."""
    start_s: Amount | None = None
    """Seconds before the first step if the model is downloaded, before any calibration."""
    checkpoint_s: Amount | None = None
    """Seconds for one checkpoint, before any calibration."""
    memory: MemoryEstimate | None = None
    cost: CostRange | None = None
    cost_lines: tuple[EstimateLine, ...] = ()
    cost_note: str = ""
    accrual: Accrual | None = None
    notes: tuple[str, ...] = ()

    def quoted(self, quote: Quote) -> Estimate:
        """Return the estimate with the provider's quote in place of our cost, which a note keeps."""
        amount = float(quote.usd)
        owed_at_once = Decimal(0) if self.accrual is None else min(self.accrual.fixed_usd, quote.usd)
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
            accrual=Accrual(kind="per_share", usd=quote.usd, fixed_usd=owed_at_once, source=quote.cited),
            notes=(*kept, *quote.notes, f"our own estimate, which this replaces: {ours or 'unknown'}"),
            **tokens,
        )

    def rows(self) -> list[tuple[str, str]]:
        """Return the rows of the estimate: pairs of a heading and a text."""
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
        """What time, memory and cost are made of, by heading."""
        return {
            "Time": self.time_lines,
            "Memory": () if self.memory is None else self.memory.lines,
            "Cost": self.cost_lines,
        }

    def __str__(self) -> str:
        from ftsdk.protocol.estimate_text import estimate_text

        return estimate_text(self)

    def to_html(self) -> str:
        """Return the estimate as an HTML fragment."""
        from ftsdk.protocol.estimate_text import estimate_html

        return estimate_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()


def in_unit(amount: Range, unit: str) -> str:
    """Write a range in the usual notation of its unit."""

    def write(value: float) -> str:
        match unit:
            case "s":
                return duration(value)
            case "usd":
                return money(value, places=2)
            case "GB":
                return f"{value:.1f} GB"
            case _:
                return f"{value:,.0f}"

    if amount.low == amount.high:
        return write(amount.likely)
    return f"{write(amount.likely)} (80 %: {write(amount.low)} to {write(amount.high)})"
