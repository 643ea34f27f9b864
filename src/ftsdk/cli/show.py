"""Output of the command line."""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, Any, Protocol

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ftsdk._format import printable

if TYPE_CHECKING:
    from ftsdk.data import Preview
    from ftsdk.errors import FtsdkError
    from ftsdk.protocol import RunStatus
    from ftsdk.run.listing import Runs

__all__ = [
    "err",
    "fold",
    "out",
    "plain",
    "short_path",
    "show_answer",
    "show_error",
    "show_preview",
    "show_runs",
    "show_status",
    "show_text",
    "show_words",
    "shown_text",
]


class HasDict(Protocol):
    """A value that prints, and converts to plain data."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        ...


out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_LEAST_ROOM = 24
"""Characters for name and model in the list of runs; a terminal without them gets no column for the start."""
_LEAST_CELL = 12
"""Characters of a table's last column that are worth wrapping in."""
_LEAST_START = 4
"""Characters of the beginning of a path that are worth showing."""
_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "unreadable": "red"}


def show_error(error: FtsdkError) -> None:
    """Print an error as a box on standard error."""
    err.print(Panel(Text(printable(str(error))), title=type(error).__name__, title_align="left", border_style="red"))


class HasDetails(HasDict, Protocol):
    """A value that also has a long form."""

    def details(self) -> str:
        """Return everything as text."""
        ...


def show_answer(value: HasDetails, *, as_json: bool, is_verbose: bool) -> None:
    """Print a short answer, everything behind it, or JSON."""
    if as_json:
        show_text(value, as_json=True)
        return
    show_words(value.details() if is_verbose else str(value))
    if not is_verbose:
        show_words("`--verbose` prints every number with its source and what was assumed.")


def show_text(value: HasDict, *, as_json: bool = False) -> None:
    """Print a value as JSON, or as text: wrapped in a terminal, unwrapped in a pipe."""
    if as_json:
        typer.echo(json.dumps(value.to_dict()))
    else:
        show_words(str(value))


def show_words(text: str) -> None:
    """Print text: wrapped in a terminal, unwrapped in a pipe."""
    text = printable(text)
    typer.echo(fold(text, out.width) if out.is_terminal else text)


def plain(text: str) -> str:
    """Return untrusted text that rich prints as it stands: no markup, no control characters."""
    return escape(printable(text))


def shown_text(text: str, style: str = "") -> Text:
    """Return untrusted text as rich's, without control characters."""
    return Text(printable(text), style=style)


def fold(text: str, width: int) -> str:
    """Wrap long lines between words, indented to where their content begins; rows of a table, to their last column."""
    lines: list[str] = []
    given = text.splitlines()
    last_column: int | None = None
    for line, below in zip(given, [*given[1:], ""], strict=True):
        if rule := _RULE.fullmatch(below) or _RULE.fullmatch(line):
            last_column = _last_column(rule.group(), width)
        elif not line.strip():
            last_column = None
        if _RULE.fullmatch(line):
            lines.append(line[:width])
            continue
        if len(line) > width and last_column is None:
            # Padding that aligns a last column has no use in a wrapped line.
            line = _LAST_GAP.sub("  ", line)
        # URLs and paths stay on one line, so that they can be copied.
        folded = textwrap.wrap(
            line,
            width,
            subsequent_indent=" " * (_content_start(line) if last_column is None else last_column),
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
        )
        lines += folded or [""]
    return "\n".join(lines)


def _last_column(rule: str, width: int) -> int | None:
    """Return where the last column of a table begins; None if too little of it fits into the width to wrap in it."""
    start = rule.rindex(" ") + 1
    return start if width - start >= _LEAST_CELL else None


def _content_start(line: str) -> int:
    """Return the indent of what is wrapped of a line."""
    found = _LEAD.match(line)
    lead = found.end() if found is not None else 0
    return lead if found is not None and found.group().strip() else lead + 4 if lead else 2


_RULE = re.compile(r" *-+(?:  -+)+")
"""The line below the heads of a table: `_format.text_table` draws it."""
_LEAD = re.compile(r" *(?:- |\d+\. |[A-Z][a-z]+ {2,})?")
"""What precedes a line's content: an indent, a bullet, or the heading of a table row."""
_LAST_GAP = re.compile(r"(?<=.{24}\S) {3,}(?=\S(?:(?! {3,}\S).)*$)")


def show_preview(preview: Preview) -> None:
    """Print a preview: trained tokens in colour, or in brackets where there is no colour."""
    if out.is_terminal and out.color_system is not None and not out.no_color:
        out.print(preview)
    else:
        typer.echo(str(preview))


def show_runs(found: Runs) -> None:
    """Print runs as a table."""
    rows = found.shown_rows()
    if not rows:
        out.print("no runs yet; start one with `ftsdk run job.yaml`")
        return
    taken = sum(max(len(row[column]) for row in rows) + 2 for column in (0, 2, 3))
    has_start = out.width - taken >= _LEAST_ROOM
    room = max(_LEAST_ROOM, out.width - taken + (0 if has_start else len(rows[0][3]) + 2)) - 2
    of_names = min(max(len(row[1]) for row in rows), room // 3)
    of_models = room - max(of_names, len("name"))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("ref", "name", "state", "started", "model"):
        if column != "started" or has_start:
            width = {"name": of_names, "model": of_models}.get(column)
            table.add_column(column, no_wrap=column in ("ref", "state", "started"), overflow="fold", max_width=width)
    for ref, name, state, started, model in rows:
        # A model that is no model is the reason why the run can't be opened, and stays whole.
        shown = plain(model if state == "unreadable" else short_path(model, of_models - 2))
        colour = _COLOURS.get(state, "white")
        cells = [plain(ref), plain(name), f"[{colour}]{plain(state)}", started, shown]
        table.add_row(*(cells if has_start else [*cells[:3], shown]))
    out.print(table)


def short_path(path: str, width: int) -> str:
    """Return a path without its middle where it is longer than `width`; its last part is kept if it fits."""
    if len(path) <= width:
        return path
    first, _, last = path.rpartition("/")
    if not first or len(last) + 2 > width:
        return f"{path[: width // 3]}…{path[len(path) - (width - width // 3 - 1) :]}"
    left = width - len(last) - 2
    return f"{first[:left] if left >= _LEAST_START else ''}…/{last}"


def show_status(ref: str, status: RunStatus) -> None:
    """Print a run's status."""
    out.print(
        f"{plain(ref)}  [{_COLOURS.get(status.state, 'white')}]{status.state}[/]"
        + (f"  {plain(status.reason)}" if status.reason else "")
    )
