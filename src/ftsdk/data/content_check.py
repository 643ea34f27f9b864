"""Whether a chat template writes all that the messages of a row say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["is_content_missing"]

Messages = Sequence[Mapping[str, Any]]


def is_content_missing(messages: Messages, text: str, trained: Mapping[int, str]) -> bool:
    """Return whether the template left out or changed what a message says, its calls aside.

    Args:
        messages: The conversation.
        text: As rendered.
        trained: The text of each trained turn, by its message.
    """
    contents = Counter(message["content"].strip() for message in messages)
    if all(count == 1 for count in contents.values()):
        lost = {content for content in contents if content not in text}
    else:
        lost = {content for content, count in contents.items() if text.count(content) < count}
    if lost and any(
        message["content"].strip() in lost and not _is_kept_otherwise(messages, n, text, trained)
        for n, message in enumerate(messages)
    ):
        return True
    return any(
        len(message) > 2 and _is_aside_missing(message, text, trained.get(n), is_last=n == len(messages) - 1)
        for n, message in enumerate(messages)
    )


def _is_kept_otherwise(messages: Messages, n: int, text: str, trained: Mapping[int, str]) -> bool:
    """Return whether a message is in the text in one of the other ways that templates of well-known models have."""
    role, content = messages[n]["role"], messages[n]["content"].strip()
    if role == "tool":  # as a JSON string
        return json.dumps(content, ensure_ascii=False)[1:-1] in text
    if role != "assistant" or "</think>" not in content:
        return False
    thought, _, answer = content.rpartition("</think>")
    if answer.strip() not in text:
        return False
    if n in trained or n == len(messages) - 1:  # with other blanks around the marks
        return thought.strip().removeprefix("<think>").strip() in text
    return True  # earlier answers without their reasoning, as the model will read them in serving


def _is_aside_missing(message: Mapping[str, Any], text: str, turn: str | None, *, is_last: bool) -> bool:
    """Return whether the template left out who speaks, or the reasoning of an answer that is learned."""
    if message["role"] != "tool" and message.get("name", "") not in text:
        return True
    reasoning = message.get("reasoning_content", "").strip()
    return (turn is not None or is_last) and reasoning not in (text if turn is None else turn)
