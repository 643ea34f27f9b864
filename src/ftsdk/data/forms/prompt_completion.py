"""A question and its answer: `prompt` and `completion`, as text or as messages."""

from __future__ import annotations

from ftsdk.data.canonical import RowMaker, joined_row, template_maker, with_tools
from ftsdk.data.forms.form import Form
from ftsdk.data.table import Table
from ftsdk.data.tool_calls import TOOL_COLUMNS

__all__ = ["PROMPT_COMPLETION", "prompt_completion_maker"]


def _fits(table: Table) -> bool:
    """Return whether these columns are all there is, or every value is text or a list."""
    if set(table.columns) <= {"prompt", "completion", "system"}:
        return True
    values = (value for name in ("prompt", "completion") for value in table.column(name))
    return all(value.strip() if isinstance(value, str) else isinstance(value, (list, tuple)) for value in values)


def prompt_completion_maker(table: Table, source: str | None) -> RowMaker:
    """Return what makes conversations of `prompt` and `completion`, as text or as messages."""
    if any(isinstance(value, (list, tuple)) for value in table.column("prompt")):
        return with_tools(RowMaker(joined_row), table)
    # A system column may have gaps; a template with gaps would be refused.
    maker = template_maker(table, source, prompt="{prompt}", completion="{completion}", system=None, system_column=True)
    return with_tools(maker, table)


PROMPT_COMPLETION = Form(
    name="prompt and completion",
    format="chat",
    needs=frozenset({"prompt", "completion"}),
    reads=frozenset({"system", *TOOL_COLUMNS}),
    fits=_fits,
    make=prompt_completion_maker,
    call='as_chat(prompt="{prompt}", completion="{completion}")',
)
