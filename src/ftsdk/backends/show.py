"""Plans for people."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftsdk.backends.base import Plan

__all__ = ["all_notes", "plan_html", "plan_rows", "plan_text"]


def plan_rows(plan: Plan) -> list[tuple[str, str]]:
    """List what a plan says in pairs of a heading and a text."""
    spec = plan.spec
    rows: list[tuple[str, str]] = [
        ("Backend", plan.backend),
        ("Model", str(spec.model)),
        ("Data", f"{spec.train.rows:,} training rows" + (f", {spec.validation.rows:,} validation rows" if spec.validation else ", no validation")),
        ("Method", f"{type(spec.method).__name__}({_fields(spec.method.model_dump())})"),
        ("Tuning", f"{type(spec.tuning).__name__}({_fields(spec.tuning.model_dump())})"),
    ]
    rows.append(
        (
            "Length",
            f"{spec.epochs:g} epochs" + (f", at most {spec.max_steps} steps" if spec.max_steps else "") + f", {spec.batch_size} sequences a step",
        )
    )
    if plan.estimate is not None:
        rows += plan.estimate.rows()
    if plan.cost is not None:
        rows.append(("Cost", f"${plan.cost.likely:.2f} (80 %: ${plan.cost.low:.2f} to ${plan.cost.high:.2f}; {plan.cost.source})"))
    else:
        rows.append(("Cost", plan.cost_note or "unknown"))
    if spec.budget_usd is not None:
        rows.append(("Budget", f"${spec.budget_usd}"))
    return rows


def plan_text(plan: Plan) -> str:
    """Write a plan as plain text."""
    lines = [f"{heading:<9}{text}" for heading, text in plan_rows(plan)]
    if plan.adjustments:
        lines.append("Chosen for you (set the field to choose yourself):")
        width = max(len(a.field) for a in plan.adjustments)
        lines += [f"  {a.field:<{width}}  {a.chosen}  - {a.reason}" for a in plan.adjustments]
    lines += [f"Note: {note}" for note in all_notes(plan)]
    return "\n".join(lines)


def plan_html(plan: Plan) -> str:
    """Write a plan as an HTML fragment."""
    head = "".join(
        f"<tr><th style='text-align:left'>{html.escape(k)}</th><td style='text-align:left'>{html.escape(v)}</td></tr>" for k, v in plan_rows(plan)
    )
    chosen = "".join(
        f"<tr><td><code>{html.escape(a.field)}</code></td><td>{html.escape(str(a.chosen))}</td>"
        f"<td style='text-align:left'>{html.escape(a.reason)}</td></tr>"
        for a in plan.adjustments
    )
    table = f"<table><tr><th>Chosen for you</th><th></th><th>because</th></tr>{chosen}</table>" if chosen else ""
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in all_notes(plan))
    return f"<table>{head}</table>{table}{notes}"


def all_notes(plan: Plan) -> tuple[str, ...]:
    """List the notes of the plan and of its estimate."""
    return (*plan.notes, *(plan.estimate.notes if plan.estimate is not None else ()))


def _fields(values: dict[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items() if name != "kind" and value is not None)
