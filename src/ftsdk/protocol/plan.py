"""The plan: the exact request, and every value that was chosen for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self, cast

from ftsdk.errors import SpecError
from ftsdk.protocol.billing import Billing
from ftsdk.protocol.estimates import CostRange, Estimate, PlannedHardware, Quote
from ftsdk.protocol.workload import Workload
from ftsdk.spec import JobSpec, Value

__all__ = ["Adjustment", "Plan"]


class Adjustment(Value):
    """A value that the backend chose because the spec left it open."""

    field: str
    chosen: Any = None
    """The value that will be used; None if the service decides."""
    reason: str


class Plan(Value):
    """Exactly what will be requested of the backend, decided before anything is sent."""

    backend: str
    spec: JobSpec
    request: dict[str, Any]
    """The native request, as JSON: exactly what will be sent. Only its backend reads it."""
    adjustments: tuple[Adjustment, ...] = ()
    """What the spec left open, what was chosen, and why."""
    workload: Workload | None = None
    """What there is to compute; None: the backend doesn't state it, so time and memory aren't estimated."""
    billing: Billing | None = None
    """What is billed, and at which prices; None: not known."""
    notes: tuple[str, ...] = ()
    """What the user should know before the start."""
    hardware: PlannedHardware | None = None
    """What a worker will run on; None: not known."""
    estimate: Estimate | None = None
    """Tokens, time, memory and cost; `job.plan()` adds it, a backend leaves it out."""

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Build the plan from JSON text, also from that of a ledger written before plans had `workload` and `billing`.

        Raises:
            SpecError: Not JSON, an unknown key, or an impossible value, at any depth.
        """
        try:
            data: object = json.loads(text)
        except ValueError as error:
            raise SpecError(f"a plan is a JSON object; this isn't JSON: {error}") from error
        if isinstance(data, dict) and data.keys() & {"cost", "cost_note"}:
            text = json.dumps(_with_one_cost(cast("dict[str, Any]", data)))
        return super().from_json(text)

    @property
    def cost(self) -> CostRange | None:
        """What the run will cost, as estimated.

        None if nothing is billed, no price is known, or nothing was estimated yet.
        """
        return None if self.estimate is None else self.estimate.cost

    @property
    def cost_note(self) -> str:
        """Why there is no `cost`, and what is known instead; empty if there is one."""
        if self.estimate is not None:
            return self.estimate.cost_note
        return "" if self.billing is None else self.billing.note

    def quoted(self, quote: Quote) -> Plan:
        """Return the plan with the provider's quote in place of our estimate of the cost."""
        estimate = self.estimate or Estimate(backend=self.backend, cost_note=self.cost_note)
        return self.replace(estimate=estimate.quoted(quote))

    def __str__(self) -> str:
        from ftsdk._format import printable
        from ftsdk.protocol.plan_text import plan_text

        return printable(plan_text(self))

    def __rich__(self) -> Any:
        """Return the plan for a terminal, wrapped to its width."""
        from ftsdk.protocol.plan_text import plan_rich

        return plan_rich(self)

    def to_html(self) -> str:
        """Return the plan as an HTML fragment."""
        from ftsdk.protocol.plan_text import plan_html

        return plan_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()


def _with_one_cost(data: Mapping[str, Any]) -> dict[str, Any]:
    """Move the cost of a plan written before 2026-11-27, which had one beside its estimate's, into the estimate."""
    kept = {key: value for key, value in data.items() if key not in ("cost", "cost_note")}
    estimate = data.get("estimate") or {"backend": data.get("backend")}
    if estimate.get("cost") is None and data.get("cost") is not None:
        estimate = {**estimate, "cost": data["cost"]}
    elif estimate.get("cost") is None and data.get("cost_note") and not estimate.get("cost_note"):
        estimate = {**estimate, "cost_note": data["cost_note"]}
    return {**kept, "estimate": estimate}
