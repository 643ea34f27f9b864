"""KTO's single answers, each marked as good or bad."""

from __future__ import annotations

from ftsdk.data.forms.form import Form, holds_messages, sample_of
from ftsdk.data.table import Table

__all__ = ["KTO"]

_MARKS = frozenset({"true", "false", "0", "1"})


def _fits(table: Table) -> bool:
    """Return whether every label says yes or no."""
    found = False
    for value in table.column("label"):
        if value is None:
            continue
        if not isinstance(value, (bool, int, str)) or str(value).strip().lower() not in _MARKS:
            return False
        found = True
    return found


def _hint(table: Table) -> str:
    label = next(iter(sample_of(table, "label")), None)
    is_good = 'row["label"]' if not isinstance(label, str) else 'row["label"].lower() in ("true", "1")'
    if holds_messages(sample_of(table, "prompt")):
        shape = 'map(lambda row: {"messages": [*row["prompt"], *row["completion"]]})'
    else:
        shape = 'as_chat(prompt="{prompt}", completion="{completion}")'
    return (
        "These rows are KTO's: one answer each, and a label that is false, which marks a bad answer, or true. The "
        "method KTO isn't available yet, and SFT would learn the bad answers too. To learn the good ones alone, call "
        f"filter(lambda row: {is_good}).{shape}. If label is a class, and every answer is good, call {shape}."
    )


KTO = Form(
    name="KTO",
    format=None,
    needs=frozenset({"prompt", "completion", "label"}),
    fits=_fits,
    call='as_chat(prompt="{prompt}", completion="{completion}")',
    hint=_hint,
)
