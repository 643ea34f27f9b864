"""How to make trainable rows of a table that is in no known form: the call with its own column names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftsdk._format import printable
from ftsdk.data.forms.form import holds_messages

__all__ = ["shape_hint"]

_QUESTIONS = ("prompt", "question", "query", "instruction", "input", "text", "problem", "user", "request", "email")
_ANSWERS = (
    "completion",
    "answer",
    "response",
    "output",
    "label",
    "category",
    "target",
    "solution",
    "assistant",
    "reply",
    "intent",
    "summary",
)
_CHOSEN = ("chosen", "preferred", "preferred_output", "accepted", "better")
_REJECTED = ("rejected", "non_preferred", "non_preferred_output", "refused", "worse")
_SHOWN_COLUMNS = 20


def shape_hint(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what to call for a table to become chat or preference rows.

    Args:
        columns: Its columns.
        rows: Some of its rows; the first few are looked at.
    """
    named = {column.strip().lower().replace(" ", "_").replace("-", "_"): column for column in columns}
    sample = rows[:20]
    if (pair := _pair(named, sample)) is not None:
        return f"These look like preferences. Call {pair}."
    if (
        talk := next(
            (
                column
                for column in columns
                if holds_messages([row[column] for row in sample if row.get(column) is not None])
            ),
            None,
        )
    ) is not None:
        return f"The column {talk!r} holds conversations. Call as_chat(messages={talk!r})."
    question, answer = _first(named, _QUESTIONS), _first(named, _ANSWERS)
    if question is not None and answer is not None and question != answer:
        return (
            f'Call as_chat(prompt="{{{question}}}", completion="{{{answer}}}"{_system(named)}), or '
            "as_preference(prompt=, chosen=, rejected=) for pairs of answers."
        )
    if list(named) == ["text"]:
        return (
            f"Plain text in {named['text']!r} has no answer to learn. Split it into a prompt and a completion with "
            'map(lambda row: {"prompt": ..., "completion": ...}).'
        )
    shown = [printable(column, 40) for column in columns[:_SHOWN_COLUMNS]]
    example = shown[0] if shown else "column"
    last = shown[-1] if shown else "column"
    return (
        f'Call as_chat(prompt="...{{{example}}}...", completion="{{{last}}}") or as_preference(prompt=, chosen=, '
        "rejected=) first."
    )


def _system(named: Mapping[str, str]) -> str:
    return f', system="{{{named["system"]}}}"' if "system" in named else ""


def _pair(named: Mapping[str, str], sample: Sequence[Mapping[str, Any]]) -> str | None:
    chosen, rejected = _first(named, _CHOSEN), _first(named, _REJECTED)
    if chosen is None or rejected is None:
        return None
    asked = _first(named, _QUESTIONS)
    if asked is not None and any(isinstance(row.get(asked), Mapping) for row in sample):
        # OpenAI's form keeps the conversation in {"messages": [...]}.
        return (
            f'map(lambda row: {{"prompt": row[{asked!r}]["messages"], "chosen": row[{chosen!r}], '
            f'"rejected": row[{rejected!r}]}})'
        )
    prompt = "" if asked is None else f'prompt="{{{asked}}}", '
    return f'as_preference({prompt}chosen="{{{chosen}}}", rejected="{{{rejected}}}"{_system(named)})'


def _first(named: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((named[name] for name in names if name in named), None)
