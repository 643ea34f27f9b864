"""What is known of a run before it starts: values that plans carry and the ledger keeps. `ftsdk.cost.training.estimate` computes them."""

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

__all__ = [
    "ASKED_LATER",
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

ASKED_LATER = "the service's own estimate is asked for at submit() and replaces this one; job.estimate(live=True) asks now, and uploads the data"
"""The note of an estimate of ours that a service's own will replace; it goes once that has been given."""

Amount = Annotated[float, Field(ge=0)]


class CostRange(Value):
    """Cost in US dollars: with 80 % confidence between `low` and `high`."""

    low: Usd
    likely: Usd
    high: Usd
    source: str
    """Whose price, and of which day."""

    def __str__(self) -> str:
        interval = "" if self.low == self.high else f"80 %: {money(self.low, places=2)} to {money(self.high, places=2)}; "
        return f"{money(self.likely, places=2)} ({interval}{self.source})"


class Range(Value):
    """A quantity: with 80 % confidence between `low` and `high`."""

    low: Amount
    likely: Amount
    high: Amount

    def __str__(self) -> str:
        if self.low == self.high:
            return _short(self.likely)
        return f"{_short(self.likely)} ({_short(self.low)} to {_short(self.high)})"


class EstimateLine(Value):
    """One part of a sum, and where its numbers are from."""

    label: str
    amount: Range
    unit: Literal["tokens", "s", "GB", "usd"]
    source: str


class PlannedHardware(Value):
    """What a worker will find at the place, as the plan was made for it."""

    device: Literal["cuda", "mps", "cpu"]
    name: str
    """As the driver or the place calls it."""
    processes: int = 1
    memory_gib: float | None = None
    """Of one device."""
    has_bfloat16: bool = True


class MemoryEstimate(Value):
    """Peak memory of one device, in GB of 1e9 bytes."""

    peak_gb: Range
    there_gib: float | None = None
    """What the device has, in GiB; None: not known."""
    verdict: Literal["fits", "tight", "no", "unknown"]
    """`fits`: with room to be wrong. `tight`: likely, without that room. `no`: likely not."""
    largest_micro_batch: int | None = None
    """The most rows of the longest kind that fit at once, with room to be wrong; 0: not even one."""
    fixed_gb: Amount = 0.0
    """Of the peak before any calibration: weights, what is trained, context."""
    varying_gb: Amount = 0.0
    """Of the peak before any calibration: what grows with the tokens of a micro-batch."""
    lines: tuple[EstimateLine, ...] = ()

    def __str__(self) -> str:
        there = "" if self.there_gib is None else f" of {self.there_gib:.0f} GiB"
        most = "" if self.largest_micro_batch is None else f"; at most {self.largest_micro_batch} rows at a time would fit"
        return f"{self.peak_gb} GB{there}: {self.verdict}{most}"


class StepParts(Value):
    """Seconds of one optimizer step, by who needs them, before any calibration: what a measured step is held against."""

    device_s: Annotated[float, Field(gt=0)]
    """Products and memory traffic."""
    host_s: Annotated[float, Field(gt=0)]
    """Starting kernels, meanwhile."""
    optimizer_s: Amount = 0.0
    """Stepping the optimizer, after both."""
    overlap: Annotated[float, Field(ge=1)] = 1.0
    """How device and host work side by side: 1, they take turns, as on a CPU that is both; the larger, the more the slower one alone counts."""

    @property
    def seconds(self) -> float:
        """All together."""
        return (self.device_s**self.overlap + self.host_s**self.overlap) ** (1 / self.overlap) + self.optimizer_s


class Accrual(Value):
    """How the cost of a run grows while it runs."""

    kind: Literal["per_hour", "per_share"]
    """By time, or by the share of the training that is done."""
    usd: Usd
    """US dollars an hour, or for the whole training: at most, so that a budget isn't passed unseen."""
    fixed_usd: Usd
    """Whatever is owed from the first moment on, such as a minimum."""
    start_s: Annotated[float, Field(ge=0)] = 0.0
    """Where the start of an attempt is billed: the seconds that it may take at most, before the attempt's first word."""
    source: str


class Quote(Value):
    """What a place itself says that a planned run will cost. Asking spends nothing and starts nothing."""

    usd: Usd
    """US dollars, the least that a run costs there applied."""
    tokens: Annotated[int, Field(ge=0)] | None = None
    """Tokens that it would bill, training and validation together; None: not told."""
    source: str
    """Whose word it is."""
    asked_at: Annotated[float, Field(ge=0, le=1e11)]
    """Seconds since the epoch, UTC."""
    notes: tuple[str, ...] = ()
    """What stands in the way of a run at this price, such as a limit of the account."""

    @property
    def cited(self) -> str:
        """Whose word, and of which day."""
        return f"{self.source}, {datetime.fromtimestamp(self.asked_at, UTC):%Y-%m-%d}"

    def to_native(self) -> dict[str, str]:
        """Give what a ref keeps of it, for `RunRef.native`."""
        told = {} if self.tokens is None else {"quoted_tokens": str(self.tokens)}
        return {"quoted_usd": str(self.usd), "quoted_by": self.source, "quoted_at": repr(self.asked_at), **told}

    @classmethod
    def from_native(cls, native: Mapping[str, str]) -> Quote | None:
        """Read what a ref keeps; None if its place gave no estimate, or what is kept can't be read."""
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
    """What a run will take, each number with its interval and its source. `cost` is None where nothing is billed or no price is known."""

    backend: str
    tokens: Range | None = None
    """Tokens of the training rows over all epochs, padding left out."""
    tokens_source: str = ""
    billed_tokens: Range | None = None
    """What the provider's rule makes of them, where it bills tokens."""
    seconds: Range | None = None
    """From start to end, all of it."""
    time_lines: tuple[EstimateLine, ...] = ()
    step: StepParts | None = None
    """One optimizer step of the mean kind."""
    start_s: Amount | None = None
    """What passes before the first step of a model that is at hand, before any calibration."""
    checkpoint_s: Amount | None = None
    """One checkpoint, before any calibration."""
    memory: MemoryEstimate | None = None
    cost: CostRange | None = None
    cost_lines: tuple[EstimateLine, ...] = ()
    cost_note: str = ""
    accrual: Accrual | None = None
    notes: tuple[str, ...] = ()

    def quoted(self, quote: Quote) -> Estimate:
        """Put the place's own price, and its tokens if it told them, in place of ours; what ours was goes into a note."""
        amount = float(quote.usd)
        owed_at_once = Decimal(0) if self.accrual is None else min(self.accrual.fixed_usd, quote.usd)
        told = {} if quote.tokens is None else {"billed_tokens": Range(low=quote.tokens, likely=quote.tokens, high=quote.tokens)}
        ours = str(self.cost) if self.cost is not None else self.cost_note
        kept = tuple(note for note in self.notes if note != ASKED_LATER)
        return self.replace(
            cost=CostRange(low=quote.usd, likely=quote.usd, high=quote.usd, source=quote.cited),
            cost_lines=(EstimateLine(label="the whole run", amount=Range(low=amount, likely=amount, high=amount), unit="usd", source=quote.cited),),
            cost_note="",
            accrual=Accrual(kind="per_share", usd=quote.usd, fixed_usd=owed_at_once, source=quote.cited),
            notes=(*kept, *quote.notes, f"our own estimate, which this replaces: {ours or 'unknown'}"),
            **told,
        )

    def rows(self) -> list[tuple[str, str]]:
        """List what it says in pairs of a heading and a text."""
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
        return {"Time": self.time_lines, "Memory": () if self.memory is None else self.memory.lines, "Cost": self.cost_lines}

    def __str__(self) -> str:
        from ftsdk.protocol.estimate_text import estimate_text

        return estimate_text(self)

    def to_html(self) -> str:
        """Give the estimate as an HTML fragment."""
        from ftsdk.protocol.estimate_text import estimate_html

        return estimate_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()


def in_unit(amount: Range, unit: str) -> str:
    """Write a range in words that people use for the unit."""

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


def _short(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"
