"""Plans as text, for a terminal and as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._format import Html, escaped, html_block, html_table, notes_html, printable

if TYPE_CHECKING:
    from rich.console import Group

    from ftsdk.protocol import Plan
    from ftsdk.spec import DatasetRef

__all__ = ["all_notes", "plan_html", "plan_rich", "plan_rows", "plan_text"]


def plan_rows(plan: Plan) -> list[tuple[str, str]]:
    """Return the lines of a plan as pairs of heading and text."""
    spec = plan.spec
    rows: list[tuple[str, str]] = [
        ("Backend", plan.backend),
        ("Model", str(spec.model)),
        (
            "Data",
            f"{spec.train.rows:,} training rows{_sequences(spec.train)}"
            + (f", {spec.validation.rows:,} validation rows" if spec.validation else ", no validation"),
        ),
        ("Method", f"{type(spec.method).__name__}({_fields(spec.method.model_dump())})"),
        ("Tuning", f"{type(spec.tuning).__name__}({_fields(spec.tuning.model_dump())})"),
    ]
    rows.append(
        (
            "Length",
            f"{spec.epochs:g} epoch{'' if spec.epochs == 1 else 's'}"
            + (f", at most {spec.max_steps} steps" if spec.max_steps else "")
            + f", {spec.batch_size} sequences a step",
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
    """Return a plan as plain text."""
    lines = [f"{heading:<9}{text}" for heading, text in plan_rows(plan)]
    if plan.adjustments:
        lines.append("Chosen for you (set the field to choose yourself):")
        width = max(len(a.field) for a in plan.adjustments)
        lines += [f"  {a.field:<{width}}  {a.chosen}  - {a.reason}" for a in plan.adjustments]
    lines += [f"Note: {note}" for note in all_notes(plan)]
    return "\n".join(lines)


def plan_rich(plan: Plan) -> Group:
    """Return a plan as tables for a terminal, wrapped and not truncated: sources are URLs."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    head.add_column(style="bold")
    head.add_column(overflow="fold")
    for heading, text in plan_rows(plan):
        head.add_row(heading, Text(printable(text)))
    parts = [head]
    if plan.adjustments:
        chosen = Table(
            title="Chosen for you; set the field to choose yourself",
            title_justify="left",
            box=None,
            padding=(0, 2, 0, 0),
        )
        for column in ("field", "chosen", "because"):
            chosen.add_column(column, style="dim" if column == "because" else "", overflow="fold")
        for adjustment in plan.adjustments:
            chosen.add_row(*(Text(printable(str(a))) for a in (adjustment.field, adjustment.chosen, adjustment.reason)))
        parts.append(chosen)
    notes = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    notes.add_column(style="yellow")
    notes.add_column(overflow="fold")
    for note in all_notes(plan):
        notes.add_row("Note:", Text(printable(note)))
    return Group(*parts, notes)


def plan_html(plan: Plan) -> str:
    """Return a plan as an HTML fragment."""
    chosen = html_table(
        ((Html(f"<code>{escaped(a.field)}</code>"), str(a.chosen), a.reason) for a in plan.adjustments),
        head=("Chosen for you", "", "because"),
    )
    return html_block(html_table(plan_rows(plan), has_row_heads=True), chosen, notes_html(all_notes(plan)))


def all_notes(plan: Plan) -> tuple[str, ...]:
    """Return the notes of the estimate and the plan: the estimate's first, since they say what may end the run."""
    return (*(plan.estimate.notes if plan.estimate is not None else ()), *plan.notes)


def _sequences(data: DatasetRef) -> str:
    if data.sequences is None:
        return ""
    return f" ({data.sequences:,} sequences, turn by turn: the chat template rewrites earlier turns)"


def _fields(values: dict[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items() if name != "kind" and value is not None)
