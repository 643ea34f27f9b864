"""When two rows are the same, or ask the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

__all__ = ["loose_prompt_key", "prompt_key", "prompt_text", "row_key"]

Format = Literal["table", "chat", "preference"]


def row_key(row: Mapping[str, Any], format: Format) -> object:  # noqa: A002
    """Return what two rows share if they are equal; a number and its text aren't."""
    if format == "table":
        return repr(sorted(row.items()))
    return tuple(_said(row[name]) for name in sorted(row))


def prompt_key(row: Mapping[str, Any], format: Format) -> object:  # noqa: A002
    """Return what two rows share if they ask the same: everything before the answer. Of a table, the whole row."""
    return row_key(row, format) if format == "table" else _said(_asked(row, format))


def loose_prompt_key(row: Mapping[str, Any], format: Format) -> object:  # noqa: A002
    """Return a `prompt_key` that is also shared by prompts which differ by case and blanks alone."""
    if format == "table":
        return row_key(row, format)
    return tuple(" ".join(text.split()).casefold() for text in _said(_asked(row, format)))


def prompt_text(row: Mapping[str, Any], format: Format) -> str:  # noqa: A002
    """Return everything before the answer as one text. Of a table, all of the row's texts."""
    if format == "table":
        return "\n".join(value for _, value in sorted(row.items()) if isinstance(value, str))
    return "\n".join(message.get("content") or "" for message in _asked(row, format))


def _asked(row: Mapping[str, Any], format: Format) -> Sequence[Mapping[str, str]]:  # noqa: A002
    return row["messages"][:-1] if format == "chat" else row["prompt"]


def _said(messages: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    return tuple(text for message in messages for text in (message["role"], message["content"]))
