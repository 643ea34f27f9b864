"""What was looked at, what was found, and what to do next."""

from __future__ import annotations

import textwrap
from typing import Literal

from ftsdk._format import escaped, html_block, html_table
from ftsdk._rich_text import rich_text
from ftsdk.spec import Value

__all__ = ["Check", "Checkup", "Part", "State"]

Part = Literal["installed", "keys", "access", "machine"]
State = Literal["ok", "missing", "problem", "not checked"]
_WIDTH = 110
_TITLES: dict[Part, str] = {
    "installed": "Installed",
    "keys": "Keys",
    "access": "Providers and clusters",
    "machine": "This machine",
}


class Check(Value):
    """One line of a checkup."""

    part: Part
    name: str
    """What was looked at: an extra, a key, a backend, or a part of the machine."""
    state: State
    """`missing` is nothing wrong: not everybody needs it. `problem` is something that has to be mended."""
    found: str
    next_step: str
    """What to do next."""


class Checkup(Value):
    """What `doctor()` found."""

    checks: tuple[Check, ...]

    @property
    def is_ok(self) -> bool:
        """Whether nothing has to be mended. What is missing doesn't count."""
        return not self.problems

    @property
    def problems(self) -> tuple[Check, ...]:
        """What has to be mended."""
        return tuple(check for check in self.checks if check.state == "problem")

    def __str__(self) -> str:
        lines: list[str] = []
        for part, title in _TITLES.items():
            of_part = [check for check in self.checks if check.part == part]
            lines += [*([title] if of_part else []), *(line for check in of_part for line in _lines(check))]
        return "\n".join([*lines, "", self._verdict()])

    __rich__ = rich_text

    def to_html(self) -> str:
        """Return the checkup as a self-contained piece of HTML."""
        rows = [(_TITLES[c.part], c.name, c.state, c.found, c.next_step) for c in self.checks]
        head = ("", "", "state", "found", "next step")
        return html_block(html_table(rows, head=head), f"<p>{escaped(self._verdict())}</p>", title="Checkup")

    def _repr_html_(self) -> str:
        return self.to_html()

    def _verdict(self) -> str:
        if self.is_ok:
            return "Nothing has to be mended."
        return f"To be mended: {', '.join(check.name for check in self.problems)}."


def _lines(check: Check) -> list[str]:
    """Return what was found, and the next step below it, folded to the width of a page."""
    state = f"  {check.state:<11}  "
    indent = " " * len(state)
    return [
        *textwrap.wrap(f"{check.name}: {check.found}", _WIDTH, initial_indent=state, subsequent_indent=indent),
        *textwrap.wrap(f"-> {check.next_step}", _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}   "),
    ]
