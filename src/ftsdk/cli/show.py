"""How the command line prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

if TYPE_CHECKING:
    from ftsdk.backends.base import Plan, RunStatus
    from ftsdk.errors import FtsdkError
    from ftsdk.run import Runs

__all__ = ["out", "show_error", "show_plan", "show_runs", "show_status"]

out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)

_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


def show_error(error: FtsdkError) -> None:
    """Print an error as a box on the standard error."""
    _err.print(Panel(str(error), title=type(error).__name__, title_align="left", border_style="red"), markup=False)


def show_plan(plan: Plan) -> None:
    """Print a plan as two tables."""
    from ftsdk.backends.show import all_notes, plan_rows

    head = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for heading, text in plan_rows(plan):
        head.add_row(f"[bold]{heading}", text)
    out.print(head)
    if plan.adjustments:
        chosen = Table(title="Chosen for you; set the field to choose yourself", title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in ("field", "chosen", "because"):
            chosen.add_column(column, style="dim" if column == "because" else "")
        for adjustment in plan.adjustments:
            chosen.add_row(adjustment.field, str(adjustment.chosen), adjustment.reason)
        out.print(chosen)
    for note in all_notes(plan):
        out.print(f"[yellow]Note:[/] {note}")


def show_runs(found: Runs) -> None:
    """Print runs as a table."""
    if not len(found):
        out.print("no runs yet; start one with `ftsdk run job.yaml`")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("ref", "name", "state", "started", "model"):
        table.add_column(column, no_wrap=column in ("ref", "state", "started"))
    for ref, name, state, started, model in found.rows():
        table.add_row(ref, name, f"[{_COLOURS.get(state, 'white')}]{state}", started, model)
    out.print(table)


def show_status(ref: str, status: RunStatus) -> None:
    """Print where a run is."""
    out.print(f"{ref}  [{_COLOURS.get(status.state, 'white')}]{status.state}[/]" + (f"  {status.reason}" if status.reason else ""))
