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
    """`missing` is no problem: not everybody needs it. `problem` is something to fix."""
    found: str
    next_step: str
    """What to do next."""


class Checkup(Value):
    """What `doctor()` found."""

    checks: tuple[Check, ...]

    @property
    def is_ok(self) -> bool:
        """Whether there is no problem. What is missing isn't one."""
        return not self.problems

    @property
    def problems(self) -> tuple[Check, ...]:
        """What has to be fixed."""
        return tuple(check for check in self.checks if check.state == "problem")

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, width: int = 110) -> str:
        """Return the checkup as text, wrapped to so many characters."""
        lines: list[str] = []
        for part, title in _TITLES.items():
            of_part = [check for check in self.checks if check.part == part]
            lines += [*([title] if of_part else []), *(line for check in of_part for line in _lines(check, width))]
        return "\n".join([*lines, "", *textwrap.wrap(self._verdict(), width)])

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
            return "No problems found."
        found = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return f"{found}: {', '.join(check.name for check in self.problems)}."


def _lines(check: Check, width: int) -> list[str]:
    """Return what was found, and the next step below it."""
    state = f"  {check.state:<11}  "
    indent = " " * len(state)
    return [
        *_wrapped(f"{check.name}: {check.found}", width, state, indent),
        *_wrapped(f"-> {check.next_step}", width, indent, f"{indent}   "),
    ]


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    # A path or a command is copied whole, and a name such as `genai-prices` has no break in it.
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
