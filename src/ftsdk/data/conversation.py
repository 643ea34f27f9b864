"""Conversations: which lists of messages can be trained on, and their canonical form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ftsdk.data.location import Location
from ftsdk.data.tool_calls import read_calls, read_function_call
from ftsdk.spec.base import nearest

__all__ = ["Message", "check_conversation", "check_text", "read_messages"]

Message = dict[str, Any]
"""`{"role": ..., "content": ...}`, both text, and what else the message says:

- `name`: who speaks, or which tool answers;
- `reasoning_content`: what the assistant thought before it answered;
- `tool_calls`: `[{"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}}]`; some have no id;
- `tool_call_id`: the call that a tool's message answers;
- `weight`: 0 for an assistant's message that isn't trained.
"""

_ROLES = ("system", "user", "assistant", "tool")
_REASONING = ("reasoning_content", "reasoning", "thinking")
_TEXT_PARTS = ("text", "input_text", "output_text")
_SHAREGPT = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
}


def read_messages(value: object, where: Location, field: str) -> list[Message]:
    """Return a list of OpenAI's `{"role", "content"}` or ShareGPT `{"from", "value"}` messages in canonical form.

    Raises:
        DatasetError: It isn't such a list, or a message has a key that would be dropped; names the message.
    """
    if value is None:
        raise where.error("has no value.", field=field, hint="Fill it in, or remove the row.")
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise where.error(
            f'is a {type(value).__name__}; it must be a list of {{"role": ..., "content": ...}} messages.', field=field
        )
    messages = [_message(item, index, where, field) for index, item in enumerate(cast("Sequence[object]", value))]
    if not messages:
        raise where.error("has no messages.", field=field)
    return messages


def _message(item: object, index: int, where: Location, field: str) -> Message:
    if not isinstance(item, Mapping):
        raise where.error(
            f'message {index} is a {type(item).__name__}; it must be {{"role": ..., "content": ...}}.', field=field
        )
    message = cast("Mapping[str, Any]", item)
    if "role" in message:
        role, content = message["role"], message.get("content")
        role = "tool" if role == "function" else role  # OpenAI's word before there were tools
        read = ("role", "content")
    elif "from" in message:
        role, content = message["from"], message.get("value")
        role = _SHAREGPT.get(role, role) if isinstance(role, str) else role
        read = ("from", "value")
    else:
        keys = ", ".join(repr(key) for key in message) or "nothing"
        raise where.error(f"message {index} has no 'role' (it has {keys}).", field=field)
    if role not in _ROLES:
        known = nearest(role, (*_ROLES, "human", "gpt")) if isinstance(role, str) else f"; known: {', '.join(_ROLES)}"
        raise where.error(f"message {index} has the role {role!r}{known}", field=field)
    more: Message = {} if len(message) == 2 else _more(message, read, index, role, where, field)
    if content is None and "tool_calls" in more:
        content = ""
    if isinstance(content, (list, tuple)) and content:
        content = _joined_parts(cast("Sequence[object]", content), index, role, where, field)
    if not isinstance(content, str):
        what = "no content" if content is None else f"content that is a {type(content).__name__}, not text"
        raise where.error(f"message {index} ({role}) has {what}.", field=field)
    return {"role": role, "content": check_text(content, where, field), **more}


def _joined_parts(parts: Sequence[object], index: int, role: str, where: Location, field: str) -> str:
    """Return the text of `[{"type": "text", "text": ...}]`; chat templates, too, join parts without a blank."""
    texts: list[str] = []
    for number, part in enumerate(parts):
        if isinstance(part, str):
            texts.append(part)
            continue
        found = (
            {key: value for key, value in cast("Mapping[str, Any]", part).items() if value is not None}
            if (isinstance(part, Mapping))
            else {}
        )
        kind, text = found.pop("type", None), found.pop("text", None)
        if kind not in _TEXT_PARTS or not isinstance(text, str) or found:
            what = f"is {kind!r}" if isinstance(kind, str) and kind not in _TEXT_PARTS else "isn't just a text"
            raise where.error(
                f"message {index} ({role}) has content in {len(parts)} parts, of which part {number} {what}.",
                field=field,
                hint='Models here read text alone: keep parts like {"type": "text", "text": "..."}, or remove the row.',
            )
        texts.append(text)
    return "".join(texts)


def _more(
    message: Mapping[str, Any], read: tuple[str, str], index: int, role: str, where: Location, field: str
) -> Message:
    """Return what a message says beside role and content. What can't be trained on is refused.

    To drop it would train something else than what the file says.
    """
    found: Message = {}
    is_assistant = role == "assistant"
    for key, value in message.items():
        if key in read or value is None or (isinstance(value, (str, list, tuple, dict)) and not value):
            continue
        if is_assistant and key == "tool_calls":
            found[key] = read_calls(value, index, where, field)
        elif is_assistant and key == "function_call" and not message.get("tool_calls"):
            found["tool_calls"] = read_function_call(value, index, where, field)
        elif is_assistant and key in _REASONING:
            text = _text(key, value, index, where, field)
            if found.setdefault("reasoning_content", text) != text:
                raise where.error(f"message {index} has reasoning under two names, which differ.", field=field)
        elif key == "name" or (role == "tool" and key == "tool_call_id"):
            found[key] = _text(key, value, index, where, field)
        elif is_assistant and ((key == "weight" and value in (0, 1)) or (key in ("loss", "train") and value in (0, 1))):
            # An answer that counts once is what an answer is anyway.
            if not value:
                found["weight"] = 0
        else:
            raise where.error(
                f"message {index} has {key!r}{_shown_value(value)}, which can't be trained on yet.",
                field=field,
                hint=f"Remove {key!r} from the messages if it doesn't matter.",
            )
    return found


def _shown_value(value: object) -> str:
    return f" ({value!r})" if isinstance(value, (bool, int, float)) else ""


def _text(key: str, value: object, index: int, where: Location, field: str) -> str:
    if not isinstance(value, str):
        raise where.error(f"message {index} has {key!r} that is a {type(value).__name__}, not text.", field=field)
    return check_text(value, where, field)


def check_text(text: str, where: Location, field: str) -> str:
    r"""Return the text if it can be written as UTF-8.

    Raises:
        DatasetError: It has half of a surrogate pair, as broken escapes like `"\ud83d"` leave behind.
    """
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise where.error(
                f"character {error.start} is half of a surrogate pair, which no model can read.", field=field
            ) from error
    return text


def check_conversation(
    messages: Sequence[Message], where: Location, field: str, *, ends_with: str = "assistant"
) -> None:
    """Check the order of roles: at most one system message, first; then user and assistant in turn; the assistant last.

    Tool messages may follow an assistant message or another tool message, and an assistant message answers them. Each
    call is answered before anybody else speaks, unless it ends the conversation.

    Args:
        messages: Canonical messages, at least one.
        where: The row, for errors.
        field: The column, for errors.
        ends_with: `"assistant"` for what is trained on, `"user"` for a prompt (which may also end with a tool message).

    Raises:
        DatasetError: The order is another, the last assistant message is blank, or calls and answers don't match.
    """
    roles = [message["role"] for message in messages]
    expected: tuple[str, ...] = ("user",)
    for index, role in enumerate(roles):
        if role == "system":
            if index > 0:
                raise where.error(
                    f"message {index} is from the system, which may only come first; roles: {_shown(roles)}.",
                    field=field,
                )
            continue
        if role not in expected:
            raise where.error(
                f"message {index} is from {role!r}, expected {' or '.join(map(repr, expected))}; roles: "
                f"{_shown(roles)}.",
                field=field,
            )
        expected = {"user": ("assistant",), "assistant": ("user", "tool"), "tool": ("assistant", "tool")}[role]
    fine = roles[-1] == "assistant" if ends_with == "assistant" else roles[-1] in ("user", "tool")
    if not fine:
        what = "the conversation" if ends_with == "assistant" else "the prompt"
        raise where.error(
            f"{what} must end with {ends_with!r}, and message {len(roles) - 1} is from {roles[-1]!r}; roles: "
            f"{_shown(roles)}.",
            field=field,
        )
    _check_answers(messages, where, field)
    if all(message.get("weight") == 0 for message in messages if message["role"] == "assistant") and (
        ends_with == "assistant"
    ):
        raise where.error("no message of the assistant is trained: all have the weight 0.", field=field)
    if ends_with == "assistant" and not messages[-1]["content"].strip() and "tool_calls" not in messages[-1]:
        raise where.error(
            f"message {len(roles) - 1}, the assistant's last, is empty.",
            field=field,
            hint="Fill it in, or remove the row.",
        )


def _check_answers(messages: Sequence[Message], where: Location, field: str) -> None:
    """Check that tools answer the calls before them, as every service that serves models demands."""
    for index, message in enumerate(messages):
        if message["role"] != "assistant" or index == len(messages) - 1:
            continue
        calls = message.get("tool_calls", ())
        stop = index + 1
        while stop < len(messages) and messages[stop]["role"] == "tool":
            stop += 1
        answers = messages[index + 1 : stop]
        if calls and len(answers) != len(calls):
            raise where.error(
                f"message {index} has {len(calls)} tool calls, and {len(answers)} messages from tools answer them.",
                field=field,
            )
        asked = [call["id"] for call in calls if "id" in call]
        named = [answer["tool_call_id"] for answer in answers if "tool_call_id" in answer]
        unknown = next((name for name in named if name not in asked), None)
        if unknown is not None:
            raise where.error(
                f"a message from a tool answers the call {unknown!r:.80}, which message {index} doesn't have.",
                field=field,
            )
        if twice := next((name for name in (*asked, *named) if asked.count(name) > 1 or named.count(name) > 1), None):
            raise where.error(f"the call {twice!r:.80} of message {index} is there or answered twice.", field=field)


def _shown(roles: Sequence[str]) -> str:
    shown = ", ".join(roles[:12])
    return shown + (f", ... ({len(roles)})" if len(roles) > 12 else "")
