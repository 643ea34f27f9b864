"""Which form a table is in, by its columns and what they hold."""

from __future__ import annotations

from typing import NamedTuple

from ftsdk._format import printable
from ftsdk.data.forms.alpaca import ALPACA
from ftsdk.data.forms.chat import OPENAI_CHAT, SHAREGPT
from ftsdk.data.forms.form import Form, is_empty
from ftsdk.data.forms.kto import KTO, LABELLED_CHAT
from ftsdk.data.forms.preference import (
    ANSWER_PAIRS,
    IMPLICIT_PREFERENCE,
    OPENAI_PREFERENCE,
    PREFERENCE,
    SHAREGPT_PREFERENCE,
)
from ftsdk.data.forms.prompt_completion import PROMPT_COMPLETION
from ftsdk.data.forms.text import TEXT
from ftsdk.data.table import Table

__all__ = ["FORMS", "Detection", "detect_form"]

FORMS: tuple[Form, ...] = (
    OPENAI_CHAT,
    SHAREGPT,
    PROMPT_COMPLETION,
    ALPACA,
    PREFERENCE,
    IMPLICIT_PREFERENCE,
    OPENAI_PREFERENCE,
    SHAREGPT_PREFERENCE,
    ANSWER_PAIRS,
    KTO,
    LABELLED_CHAT,
    TEXT,
)
"""Every form that is recognised. Their order decides nothing."""
_FIRST_ROWS = 100
_MANY_COLUMNS = 100
"""From here on, columns are looked through together: to find one among so many takes long."""


class Detection(NamedTuple):
    """What a table was recognised as."""

    form: Form | None
    """None: no form fits, or several do."""
    left_out: tuple[str, ...] = ()
    """Columns with values that the form doesn't read."""
    hint: str | None = None
    """Where several forms fit, or the form can't be trained on: why, and the calls that decide."""


def detect_form(table: Table) -> Detection:
    """Return the form of a table. Never a guess: where several fit, it is none of them."""
    columns = frozenset(table.columns)
    found = [form for form in FORMS if form.needs <= columns and form.fits(table)]
    found = [form for form in found if not any(form.needs < other.needs for other in found)]
    if not found:
        return Detection(None)
    if len(found) > 1:
        # A column without any value decides nothing.
        filled = [form for form in found if len(_with_values(table, sorted(form.needs))) == len(form.needs)]
        found = filled or found
    if len(found) > 1:
        return Detection(None, hint=_choices(found))
    form = found[0]
    others = [name for name in table.columns if name not in form.needs | form.reads]
    return Detection(form, _with_values(table, others), None if form.hint is None else form.hint(table))


def _with_values(table: Table, columns: list[str]) -> tuple[str, ...]:
    """Return those of the columns that hold anything."""
    waiting = dict.fromkeys(columns)
    for row in table.rows if len(columns) > _MANY_COLUMNS else table.rows[:_FIRST_ROWS]:
        if not waiting:
            break
        for name in [name for name in waiting if not is_empty(row.get(name))]:
            del waiting[name]
    if len(columns) <= _MANY_COLUMNS:
        for name in [name for name in waiting if any(not is_empty(value) for value in table.column(name))]:
            del waiting[name]
    return tuple(name for name in columns if name not in waiting)


def _choices(forms: list[Form]) -> str:
    fits = " and ".join(f"{form.name} ({', '.join(sorted(form.needs))})" for form in forms)
    calls = " or ".join(form.call for form in forms)
    return printable(f"The columns fit more than one form: {fits}. Call {calls} to decide.", 600)
