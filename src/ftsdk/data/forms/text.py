"""Plain text, without a question and an answer."""

from __future__ import annotations

from ftsdk.data.forms.form import Form, sample_of
from ftsdk.data.table import Table

__all__ = ["TEXT"]


def _hint(table: Table) -> str:
    del table
    return (
        "Plain text in 'text' has no answer to learn. Split it into a prompt and a completion with "
        'map(lambda row: {"prompt": ..., "completion": ...}).'
    )


TEXT = Form(
    name="plain text",
    format=None,
    needs=frozenset({"text"}),
    fits=lambda table: table.columns == ("text",) and all(isinstance(value, str) for value in sample_of(table, "text")),
    call='map(lambda row: {"prompt": ..., "completion": ...})',
    hint=_hint,
)
