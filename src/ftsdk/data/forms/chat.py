"""Conversations: OpenAI's `messages`, and ShareGPT's `conversations`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ftsdk.data.canonical import Make, Row, messages_maker
from ftsdk.data.forms.form import Form, holds_messages, sample_of
from ftsdk.data.location import Location
from ftsdk.data.table import Table

__all__ = ["OPENAI_CHAT", "SHAREGPT"]

_ASSISTANTS = ("chatgpt", "bard", "bing", "claude", "model", "bot")
"""Who answers in the conversations of the first ShareGPT sets, besides `gpt`."""


def _openai_maker(table: Table, source: str | None) -> Make:
    del table, source
    read = messages_maker("messages", None)

    def make(row: Mapping[str, Any], where: Location) -> Row:
        return read(_changed(row, "messages", where, _without_settings), where)

    return make


def _sharegpt_maker(table: Table, source: str | None) -> Make:
    del table, source
    read = messages_maker("conversations", None)

    def make(row: Mapping[str, Any], where: Location) -> Row:
        return read(_changed(row, "conversations", where, _with_known_role), where)

    return make


def _changed(row: Mapping[str, Any], column: str, where: Location, change: Any) -> Mapping[str, Any]:
    messages: object = row.get(column)
    if not isinstance(messages, (list, tuple)):
        return row  # refused by what reads messages
    found = cast("Sequence[object]", messages)
    changed = [
        change(cast("Mapping[str, Any]", message), number, where) if isinstance(message, Mapping) else message
        for number, message in enumerate(found)
    ]
    return {**row, column: changed}


def _without_settings(message: Mapping[str, Any], number: int, where: Location) -> Mapping[str, Any]:
    """Return a message without a weight that changes nothing.

    Raises:
        DatasetError: Its weight excludes an answer from training, or it names who speaks.
    """
    if message.get("weight") in (0, 1) and not isinstance(message["weight"], bool):
        if message["weight"] == 0 and message.get("role") == "assistant":
            raise where.error(
                f"message {number} has 'weight', which can't be trained on yet: 0 excludes this answer, and which "
                "answers count is chosen for all rows alike.",
                field="messages",
                hint="If only the last answer of each conversation is to be learned, remove the weights and pass "
                'SFT(train_on="completion"); else end the conversation before such an answer.',
            )
        message = {key: value for key, value in message.items() if key != "weight"}
    if message.get("name") and message.get("role") in ("system", "user", "assistant"):
        raise where.error(
            f"message {number} has 'name', which can't be trained on yet: chat templates leave it out.",
            field="messages",
            hint="Write it into the content if the model should read it, and remove 'name' from the messages.",
        )
    return message


def _with_known_role(message: Mapping[str, Any], number: int, where: Location) -> Mapping[str, Any]:
    del number, where
    return {**message, "from": "gpt"} if message.get("from") in _ASSISTANTS else message


OPENAI_CHAT = Form(
    name="OpenAI chat",
    format="chat",
    needs=frozenset({"messages"}),
    reads=frozenset({"system"}),
    fits=lambda table: bool(table.columns),
    make=_openai_maker,
    call='as_chat(messages="messages")',
)
SHAREGPT = Form(
    name="ShareGPT",
    format="chat",
    needs=frozenset({"conversations"}),
    reads=frozenset({"system"}),
    fits=lambda table: holds_messages(sample_of(table, "conversations")),
    make=_sharegpt_maker,
    call='as_chat(messages="conversations")',
)
