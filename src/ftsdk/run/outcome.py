"""What runs took, compared with what was estimated: kept in the ledger, and shown by `ftsdk runs --costs`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from ftsdk._format import escaped, html_block, html_table, money, text_table
from ftsdk._rich_text import rich_text
from ftsdk.protocol.estimates import Estimate, Range
from ftsdk.spec import Value
from ftsdk.spec.base import OptionalUsd, usd_default

__all__ = ["Comparison", "CostReport", "Outcome", "compare"]


class Outcome(Value):
    """What a run took. None means unknown; nothing here is a guess."""

    state: str
    seconds: Annotated[float, Field(ge=0)] | None = None
    """Time at work, over all attempts; pauses in which no worker ran don't count."""
    steps: int | None = None
    tokens: int | None = None
    """Tokens trained on, without padding."""
    peak_memory_gb: Annotated[float, Field(ge=0)] | None = None
    """Peak memory of one device, in GB of 1e9 bytes."""
    cost_usd: OptionalUsd = usd_default(None)
    """The price that the provider states, otherwise time at the plan's price."""


_CENT = 0.01 + 1e-9


class Comparison(Value):
    """One quantity of one run: estimated and actual."""

    ref: str
    quantity: str
    estimated: Range
    actual: float

    @property
    def error(self) -> float:
        """The error of the likely value, as a fraction of the actual one."""
        return self.estimated.likely / self.actual - 1 if self.actual else 0.0

    @property
    def is_quoted(self) -> bool:
        """Whether the estimate is the provider's quote, and so not an interval."""
        return self.quantity == "usd" and self.estimated.low == self.estimated.high

    @property
    def is_inside(self) -> bool:
        """Whether the actual value is inside the 80% interval, or within a cent of the quote."""
        slack = _CENT if self.is_quoted else 0.0
        return self.estimated.low - slack <= self.actual <= self.estimated.high + slack


@dataclass(frozen=True)
class CostReport:
    """Estimates compared with actual values."""

    comparisons: tuple[Comparison, ...]

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """Return ref, quantity, estimate, actual value, error and whether it was inside, for each comparison."""
        return [
            (
                c.ref,
                c.quantity,
                _shown(c.estimated.likely, c.quantity)
                + (
                    ""
                    if c.is_quoted
                    else f" ({_shown(c.estimated.low, c.quantity)} to {_shown(c.estimated.high, c.quantity)})"
                ),
                _shown(c.actual, c.quantity),
                f"{c.error:+.0%}",
                "yes" if c.is_inside else "no",
            )
            for c in self.comparisons
        ]

    @property
    def summary(self) -> str:
        """The mean error and the number of values inside, by quantity."""
        lines: list[str] = []
        for quantity in sorted({c.quantity for c in self.comparisons}):
            found = [c for c in self.comparisons if c.quantity == quantity]
            off = sum(abs(c.error) for c in found) / len(found)
            meant = {False: "inside the 80% interval", True: "within a cent of the provider's quote"}
            inside = " or ".join(meant[is_quoted] for is_quoted in sorted({c.is_quoted for c in found}))
            lines.append(
                f"{quantity}: off by {off:.0%} on average, {inside} in {sum(c.is_inside for c in found)} of "
                f"{len(found)}"
            )
        return "\n".join(lines) or "no finished run has both an estimate and a result yet"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "runs": [{**c.to_dict(), "error": c.error, "is_inside": c.is_inside} for c in self.comparisons],
            "summary": self.summary,
        }

    def __str__(self) -> str:
        if not self.comparisons:
            return self.summary
        # A line of its own for each run: with its ref in every row the table is wider than a terminal.
        rows: list[tuple[str, ...]] = [("RUN", "ESTIMATED (80%)", "ACTUAL", "ERROR", "INSIDE")]
        last = ""
        for ref, quantity, *rest in self.rows():
            if ref != last:
                rows.append((ref, "", "", "", ""))
            rows.append((f"  {quantity}", *rest))
            last = ref
        return f"{text_table(rows)}\n{self.summary}"

    __rich__ = rich_text

    def _repr_html_(self) -> str:
        table = html_table(self.rows(), head=("ref", "quantity", "estimated", "actual", "error", "inside"))
        return html_block(table, f"<p>{escaped(self.summary)}</p>")


def _shown(amount: float, quantity: str) -> str:
    """Round seconds, tokens and gigabytes to three digits; dollars to the cent, or to four digits below a dollar."""
    if quantity == "usd":
        return money(amount, places=2 if amount >= 1 else 4)
    return f"{amount:,.0f}" if amount >= 1000 else f"{amount:.3g}"


def compare(ref: str, estimate: Estimate | None, outcome: Outcome | None) -> tuple[Comparison, ...]:
    """Compare a run's estimate with its outcome.

    Empty unless it succeeded, since another run did less work than was estimated.
    """
    if estimate is None or outcome is None or outcome.state != "succeeded":
        return ()
    cost = (
        None
        if estimate.cost is None
        else Range(low=float(estimate.cost.low), likely=float(estimate.cost.likely), high=float(estimate.cost.high))
    )
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
