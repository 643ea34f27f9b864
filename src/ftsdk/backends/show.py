"""Plans and estimates for people."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ftsdk.backends.estimates import in_unit

if TYPE_CHECKING:
    from ftsdk.backends.base import Plan
    from ftsdk.backends.estimates import Estimate, EstimateLine

__all__ = ["all_notes", "estimate_html", "estimate_text", "plan_html", "plan_rows", "plan_text"]


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
        rows += [row for row in plan.estimate.rows() if row[0] != "Cost"]
    if plan.cost is not None:
        rows.append(("Cost", str(plan.cost)))
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
    chosen = "".join(
        f"<tr>{_cell(f'<code>{html.escape(a.field)}</code>')}{_cell(_linked(str(a.chosen)))}{_cell(_linked(a.reason))}</tr>" for a in plan.adjustments
    )
    table = f"<table><tr>{_head('Chosen for you')}<th></th>{_head('because')}</tr>{chosen}</table>" if chosen else ""
    return f"{_head_table(plan_rows(plan))}{table}{_notes_html(all_notes(plan))}"


def estimate_text(estimate: Estimate) -> str:
    """Write an estimate as plain text."""
    lines = [f"{heading:<9}{text}" for heading, text in estimate.rows()]
    for heading, parts in estimate.parts.items():
        for source, those in _by_source(parts):
            lines.append(f"  {heading.lower()}: {', '.join(f'{one.label} {in_unit(one.amount, one.unit)}' for one in those)}  [{source}]")
    lines += [f"Note: {note}" for note in estimate.notes]
    return "\n".join(lines)


def estimate_html(estimate: Estimate) -> str:
    """Write an estimate as an HTML fragment."""
    body = ""
    for heading, parts in estimate.parts.items():
        first = _cell(f"<b>{heading}</b>", rows=len(parts))
        for source, those in _by_source(parts):
            cited = _cell(_linked(source), rows=len(those))
            for one in those:
                body += f"<tr>{first}{_cell(html.escape(one.label))}{_cell(in_unit(one.amount, one.unit), style='white-space:nowrap')}{cited}</tr>"
                first = cited = ""
    table = f"<table><tr><th></th>{_head('part')}{_head('amount')}{_head('source')}</tr>{body}</table>" if body else ""
    return f"{_head_table(estimate.rows())}{table}{_notes_html(estimate.notes)}"


def _by_source(parts: Sequence[EstimateLine]) -> list[tuple[str, list[EstimateLine]]]:
    """Neighbours that have the same source share it."""
    return [(source, list(those)) for source, those in groupby(parts, key=lambda part: part.source)]


def _head_table(rows: Iterable[tuple[str, str]]) -> str:
    return f"<table>{''.join(f'<tr>{_head(heading)}{_cell(_linked(text))}</tr>' for heading, text in rows)}</table>"


def _head(text: str) -> str:
    return f"<th style='text-align:left;vertical-align:top'>{html.escape(text)}</th>"


def _cell(inner: str, *, style: str = "", rows: int = 1) -> str:
    span = f" rowspan='{rows}'" if rows > 1 else ""
    return f"<td{span} style='text-align:left;vertical-align:top;{style}'>{inner}</td>"


def _linked(text: str) -> str:
    """Escape a text, and make links of its addresses."""
    return re.sub(r"https?://[^\s;,()&<>\"']+", lambda found: f"<a href='{found.group()}'>{found.group()}</a>", html.escape(text))


def _notes_html(notes: Iterable[str]) -> str:
    return "".join(f"<p><b>Note:</b> {_linked(note)}</p>" for note in notes)


def all_notes(plan: Plan) -> tuple[str, ...]:
    """List the notes of the plan and of its estimate."""
    return (*plan.notes, *(plan.estimate.notes if plan.estimate is not None else ()))


def _fields(values: dict[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items() if name != "kind" and value is not None)
