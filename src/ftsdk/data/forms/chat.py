"""Conversations: OpenAI's `messages`, and ShareGPT's `conversations`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        return read(_changed(row, "messages", where, _without_settings, lambda message: len(message) > 2), where)

    return make


def _sharegpt_maker(table: Table, source: str | None) -> Make:
    del table, source
    read = messages_maker("conversations", None)

    def make(row: Mapping[str, Any], where: Location) -> Row:
        return read(_changed(row, "conversations", where, _with_known_role, _has_other_name), where)

    return make


def _changed(
    row: Mapping[str, Any],
    column: str,
    where: Location,
    change: Callable[[Mapping[str, Any], int, Location], Mapping[str, Any]],
    needs_it: Callable[[Mapping[str, Any]], bool],
) -> Mapping[str, Any]:
    """Return a row with other messages where they need it; what isn't a list of messages is refused by its reader."""
    messages: object = row.get(column)
    if not isinstance(messages, (list, tuple)):
        return row
    found = cast("Sequence[Any]", messages)
    if not any(isinstance(message, dict) and needs_it(cast("dict[str, Any]", message)) for message in found):
        return row
    changed = [
        change(cast("dict[str, Any]", message), number, where) if isinstance(message, dict) else message
        for number, message in enumerate(found)
    ]
    return {**row, column: changed}


def _has_other_name(message: Mapping[str, Any]) -> bool:
    return isinstance(speaker := message.get("from"), str) and speaker in _ASSISTANTS


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
    return {**message, "from": "gpt"} if _has_other_name(message) else message


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
