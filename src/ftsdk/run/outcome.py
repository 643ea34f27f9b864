"""What runs have taken, beside what was estimated: kept in the ledger, and shown by `ftsdk runs --costs`."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from ftsdk._format import html_table, money, text_table
from ftsdk.cost.training.calibration import Probe
from ftsdk.protocol import CheckpointEvent, EvalEvent, Event, Plan, RunStatus, StateEvent, StepEvent
from ftsdk.protocol.estimates import Estimate, Range
from ftsdk.protocol.meter import Meter
from ftsdk.spec import Value
from ftsdk.spec.base import Usd

__all__ = ["Comparison", "CostReport", "Outcome", "Tally", "compare"]


_FEWEST_STEPS = 5
"""So many usual steps make a measurement."""


class Outcome(Value):
    """What a run has taken; None is "not known", never a guess."""

    state: str
    seconds: Annotated[float, Field(ge=0)] | None = None
    """At work, over all attempts: a pause in which nothing worked isn't counted."""
    steps: int | None = None
    tokens: int | None = None
    """Trained on, padding left out."""
    peak_memory_gb: Annotated[float, Field(ge=0)] | None = None
    """The most that one device held."""
    cost_usd: Usd | None = None
    """What the place says, else time at the plan's price."""


@dataclass(kw_only=True)
class Tally:
    """Counts a run's events as they come, each once.

    Args:
        meter: For how long it is at work; None: one that bills nothing.
    """

    meter: Meter = field(default_factory=lambda: Meter(accrual=None))
    last_at: float = 0.0
    attempts: int = 0
    began_at: float | None = None
    """When the worker said its first word."""
    steps: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    """Each step and when it was done."""
    checkpoints: set[int] = field(default_factory=set[int])
    """Steps after which a checkpoint was written."""
    pauses: set[int] = field(default_factory=set[int])
    """Steps after which something else was done, such as a validation."""
    total_steps: int | None = None
    tokens: int | None = None
    peak_memory_gb: float | None = None

    def saw(self, events: Sequence[Event]) -> None:
        """Take in events."""
        self.meter.saw(events)
        for event in events:
            self.last_at = max(self.last_at, event.at)
            match event:
                case StateEvent() if event.state == "running":
                    self.attempts += 1
                    self.began_at = event.at if self.began_at is None else self.began_at
                case StepEvent():
                    self.steps.append((event.step, event.at))
                    self.total_steps = event.total_steps or self.total_steps
                    self.tokens = event.tokens if event.tokens is not None else self.tokens
                    self.peak_memory_gb = event.peak_memory_gb or self.peak_memory_gb
                case CheckpointEvent():
                    self.checkpoints.add(event.step)
                case EvalEvent():
                    self.pauses.add(event.step)
                case _:
                    pass

    def outcome(self, status: RunStatus) -> Outcome:
        """Sum up, at the end."""
        accrual = self.meter.accrual
        cost = status.price_usd
        if cost is None and accrual is not None and accrual.kind == "per_hour":
            cost = self.meter.owed_usd()
        found = {
            "seconds": self.meter.seconds or None,
            "steps": self.steps[-1][0] if self.steps else None,
            "tokens": self.tokens,
            "peak_memory_gb": self.peak_memory_gb,
            "cost_usd": cost,
        }
        return Outcome(state=status.state, **{name: value for name, value in found.items() if value is not None})  # type: ignore[arg-type]

    def probe(self, plan: Plan) -> Probe | None:
        """Hold the steps against the plan's estimate: a measurement of the device, if there are enough of them."""
        estimate = plan.estimate
        # An attempt that was interrupted measures the pause, too.
        if estimate is None or estimate.step is None or not self.total_steps or self.attempts > 1:
            return None
        gaps = [(a[0], b[1] - a[1]) for a, b in itertools.pairwise(self.steps) if b[0] == a[0] + 1]
        # The first step loads kernels and fills caches, and the next may still.
        plain = [gap for step, gap in gaps[1:] if step not in self.checkpoints | self.pauses]
        if len(plain) < _FEWEST_STEPS:
            return None
        measured_s = statistics.median(plain)
        if measured_s <= 0:
            return None
        tokens = self._as_it_was(estimate)
        found: dict[str, Any] = {}
        written = [gap - measured_s for step, gap in gaps[1:] if step in self.checkpoints - self.pauses and gap > measured_s]
        if written:
            found |= {"checkpoint_s": statistics.median(written), "predicted_checkpoint_s": estimate.checkpoint_s}
        if self.began_at is not None:
            start_s, predicted = self.steps[0][1] - self.began_at - measured_s, estimate.start_s
            found |= {"start_s": start_s, "predicted_start_s": predicted} if start_s > 0 and predicted else {}
        if estimate.memory is not None and self.peak_memory_gb:
            memory = estimate.memory
            # For memory, rows that were guessed were taken to have as many tokens as they may.
            presumed = 1.0 if estimate.tokens is None or not estimate.tokens.likely else estimate.tokens.high / estimate.tokens.likely
            found |= {"fixed_gb": memory.fixed_gb, "varying_gb": memory.varying_gb * tokens / presumed, "peak_gb": self.peak_memory_gb}
        return Probe(
            tuning=plan.spec.tuning.kind,
            step=estimate.step.replace(device_s=estimate.step.device_s * tokens),
            measured_s=measured_s,
            steps=len(plain),
            at=self.last_at,
            **found,
        )

    def _as_it_was(self, estimate: Estimate) -> float:
        """Tokens over what was presumed of them: rows may have been guessed from text, and now they were counted."""
        if not self.tokens or estimate.tokens is None or not self.total_steps or not self.steps[-1][0]:
            return 1.0
        guessed = estimate.tokens.likely * self.steps[-1][0] / self.total_steps
        return min(3.0, max(0.33, self.tokens / guessed))


_CENT = 0.01 + 1e-9


class Comparison(Value):
    """One run: a quantity as it was estimated and as it was."""

    ref: str
    quantity: str
    estimated: Range
    actual: float

    @property
    def error(self) -> float:
        """Of the likely value, as a share of the actual one."""
        return self.estimated.likely / self.actual - 1 if self.actual else 0.0

    @property
    def is_quoted(self) -> bool:
        """Is it a price that the place itself told, and so no interval?"""
        return self.quantity == "usd" and self.estimated.low == self.estimated.high

    @property
    def is_inside(self) -> bool:
        """Did the truth fall inside of the 80 % interval, or within a cent of the price that the place told?"""
        slack = _CENT if self.is_quoted else 0.0
        return self.estimated.low - slack <= self.actual <= self.estimated.high + slack


@dataclass(frozen=True)
class CostReport:
    """Estimates against what was."""

    comparisons: tuple[Comparison, ...]

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """Give ref, quantity, estimate, actual, error and whether it was inside."""
        return [
            (
                c.ref,
                c.quantity,
                _shown(c.estimated.likely, c.quantity)
                + ("" if c.is_quoted else f" ({_shown(c.estimated.low, c.quantity)} to {_shown(c.estimated.high, c.quantity)})"),
                _shown(c.actual, c.quantity),
                f"{c.error:+.0%}",
                "yes" if c.is_inside else "no",
            )
            for c in self.comparisons
        ]

    @property
    def summary(self) -> str:
        """How far off, and how often inside, by quantity."""
        told: list[str] = []
        for quantity in sorted({c.quantity for c in self.comparisons}):
            found = [c for c in self.comparisons if c.quantity == quantity]
            off = sum(abs(c.error) for c in found) / len(found)
            meant = {False: "inside of the 80 % interval", True: "within a cent of the place's own price"}
            inside = " or ".join(meant[is_quoted] for is_quoted in sorted({c.is_quoted for c in found}))
            told.append(f"{quantity}: off by {off:.0%} on average, {inside} in {sum(c.is_inside for c in found)} of {len(found)}")
        return "\n".join(told) or "no run that ended has both an estimate and a result yet"

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data."""
        return {
            "runs": [{**c.to_dict(), "error": c.error, "is_inside": c.is_inside} for c in self.comparisons],
            "summary": self.summary,
        }

    def __str__(self) -> str:
        if not self.comparisons:
            return self.summary
        # A line of its own for each run: with its ref in every row the table is wider than a terminal.
        rows: list[tuple[str, ...]] = [("RUN", "ESTIMATED (80 %)", "ACTUAL", "ERROR", "INSIDE")]
        last = ""
        for ref, quantity, *rest in self.rows():
            if ref != last:
                rows.append((ref, "", "", "", ""))
            rows.append((f"  {quantity}", *rest))
            last = ref
        return f"{text_table(rows)}\n{self.summary}"

    def _repr_html_(self) -> str:
        return html_table(self.rows(), head=("ref", "quantity", "estimated", "actual", "error", "inside"))


def _shown(amount: float, quantity: str) -> str:
    """Seconds, tokens and bytes to the digits that mean something; dollars to the cent, or below a dollar as they are."""
    if quantity == "usd":
        return money(amount, places=2 if amount >= 1 else 4)
    return f"{amount:,.0f}" if amount >= 1000 else f"{amount:.3g}"


def compare(ref: str, estimate: Estimate | None, outcome: Outcome | None) -> tuple[Comparison, ...]:
    """Hold a run's estimate against its outcome; only of runs that succeeded, since the others did other work than was estimated."""
    if estimate is None or outcome is None or outcome.state != "succeeded":
        return ()
    cost = None if estimate.cost is None else Range(low=float(estimate.cost.low), likely=float(estimate.cost.likely), high=float(estimate.cost.high))
    pairs: list[tuple[str, Range | None, float | Decimal | None]] = [
        ("seconds", estimate.seconds, outcome.seconds),
        ("tokens", estimate.tokens, outcome.tokens),
        ("GB", None if estimate.memory is None else estimate.memory.peak_gb, outcome.peak_memory_gb),
        ("usd", cost, outcome.cost_usd),
    ]
    return tuple(
        Comparison(ref=ref, quantity=quantity, estimated=estimated, actual=float(actual))
        for quantity, estimated, actual in pairs
        if estimated is not None and actual is not None
    )
