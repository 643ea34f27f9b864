"""The plan: the exact request, and every choice that was made on the way."""

from __future__ import annotations

from typing import Any

from ftsdk.protocol.estimates import CostRange, Estimate, PlannedHardware, Quote
from ftsdk.spec import JobSpec, Value

__all__ = ["Adjustment", "Plan"]


class Adjustment(Value):
    """Something that the backend decided because the spec left it open."""

    field: str
    chosen: Any = None
    """The value that will be used; None if the place decides."""
    reason: str


class Plan(Value):
    """Exactly what will be asked of the backend, decided before anything is sent."""

    backend: str
    spec: JobSpec
    request: dict[str, Any]
    """The native request, as JSON: what is sent is this and nothing else."""
    adjustments: tuple[Adjustment, ...] = ()
    """What the spec left open, what was chosen, and why."""
    cost: CostRange | None = None
    """What the run will cost, or None if the place bills nothing or nobody can say it (`cost_note` says which, and the most)."""
    cost_note: str = ""
    notes: tuple[str, ...] = ()
    """What a careful colleague would mention before the start."""
    hardware: PlannedHardware | None = None
    """What a worker will find; None where the place doesn't say."""
    estimate: Estimate | None = None
    """Tokens, time, memory and cost; `job.plan()` adds it, a backend leaves it out."""

    def quoted(self, quote: Quote) -> Plan:
        """Put the place's own price in place of ours."""
        estimate = (self.estimate or Estimate(backend=self.backend, cost=self.cost, cost_note=self.cost_note)).quoted(quote)
        return self.replace(estimate=estimate, cost=estimate.cost)

    def __str__(self) -> str:
        from ftsdk.protocol.plan_text import plan_text

        return plan_text(self)

    def to_html(self) -> str:
        """Give the plan as an HTML fragment."""
        from ftsdk.protocol.plan_text import plan_html

        return plan_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()
