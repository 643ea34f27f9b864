"""Plain text, without a question and an answer."""

from __future__ import annotations

from ftsdk.data.forms.form import Form, sample_of

__all__ = ["TEXT"]


TEXT = Form(
    name="plain text",
    format=None,
    needs=frozenset({"text"}),
    fits=lambda table: table.columns == ("text",) and all(isinstance(value, str) for value in sample_of(table, "text")),
    call='map(lambda row: {"prompt": ..., "completion": ...})',
)
