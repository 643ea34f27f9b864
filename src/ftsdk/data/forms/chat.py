"""Conversations: OpenAI's `messages`, and ShareGPT's `conversations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ftsdk.data.canonical import Row, RowMaker, messages_maker, with_tools
from ftsdk.data.forms.form import Form, holds_messages, sample_of
from ftsdk.data.location import Location
from ftsdk.data.table import Table
from ftsdk.data.tool_calls import TOOL_COLUMNS

__all__ = ["OPENAI_CHAT", "SHAREGPT"]

_ASSISTANTS = ("chatgpt", "bard", "bing", "claude", "model", "bot")
"""Who answers in the conversations of the first ShareGPT sets, besides `gpt`."""


def _openai_maker(table: Table, source: str | None) -> RowMaker:
    del source
    return with_tools(messages_maker("messages", None), table)


def _sharegpt_maker(table: Table, source: str | None) -> RowMaker:
    del source
    read = messages_maker("conversations", None).row

    def make(row: Mapping[str, Any], where: Location) -> Row:
        messages: object = row.get("conversations")
        if isinstance(messages, list) and any(map(_has_other_name, cast("list[object]", messages))):
            renamed = [
                {**message, "from": "gpt"} if _has_other_name(message) else message
                for message in cast("list[dict[str, Any]]", messages)
            ]
            row = {**row, "conversations": renamed}
        return read(row, where)

    return with_tools(RowMaker(make), table)


def _has_other_name(message: object) -> bool:
    speaker = cast("dict[str, Any]", message).get("from") if isinstance(message, dict) else None
    return isinstance(speaker, str) and speaker in _ASSISTANTS


OPENAI_CHAT = Form(
    name="OpenAI chat",
    format="chat",
    needs=frozenset({"messages"}),
    reads=frozenset({"system", *TOOL_COLUMNS}),
    fits=lambda table: bool(table.columns),
    make=_openai_maker,
    call='as_chat(messages="messages")',
)
SHAREGPT = Form(
    name="ShareGPT",
    format="chat",
    needs=frozenset({"conversations"}),
    reads=frozenset({"system", *TOOL_COLUMNS}),
    fits=lambda table: holds_messages(sample_of(table, "conversations")),
    make=_sharegpt_maker,
    call='as_chat(messages="conversations")',
)
