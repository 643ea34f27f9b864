"""Conversations: which lists of messages can be trained on, and their canonical form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ftsdk.data.location import Location
from ftsdk.spec.base import nearest

__all__ = ["Message", "check_conversation", "check_text", "read_messages"]

Message = dict[str, str]
"""`{"role": ..., "content": ...}` and nothing else."""

_ROLES = ("system", "user", "assistant", "tool")
_SHAREGPT = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
}


def read_messages(value: object, where: Location, field: str) -> list[Message]:
    """Return a list of `{"role", "content"}` or ShareGPT `{"from", "value"}` messages in canonical form.

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
    if len(message) > 2:
        _refuse_other_keys(message, read, index, role, where, field)
    if not isinstance(content, str):
        what = "no content" if content is None else f"content that is a {type(content).__name__}, not text"
        raise where.error(f"message {index} ({role}) has {what}.", field=field)
    return {"role": role, "content": check_text(content, where, field)}


def _refuse_other_keys(
    message: Mapping[str, Any], read: tuple[str, str], index: int, role: str, where: Location, field: str
) -> None:
    """Refuse a message that says more than can be trained on.

    To drop it would train something else than what the file says.
    """
    for key, value in message.items():
        says_nothing = value is None or (isinstance(value, (str, list, tuple, dict)) and not value)
        # An answer that counts once is what an answer is anyway.
        is_usual = role == "assistant" and (
            (key == "weight" and value == 1) or (key in ("loss", "train") and value is True)
        )
        if key not in read and not says_nothing and not is_usual:
            raise where.error(
                f"message {index} has {key!r}, which can't be trained on yet: only {read[0]} and {read[1]} can.",
                field=field,
                hint=f"Remove {key!r} from the messages if it doesn't matter.",
            )


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

    Tool messages may follow an assistant message or another tool message, and an assistant message answers them.

    Args:
        messages: Canonical messages, at least one.
        where: The row, for errors.
        field: The column, for errors.
        ends_with: `"assistant"` for what is trained on, `"user"` for a prompt (which may also end with a tool message).

    Raises:
        DatasetError: The order is another, or the last assistant message is blank.
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
    if ends_with == "assistant" and not messages[-1]["content"].strip():
        raise where.error(
            f"message {len(roles) - 1}, the assistant's last, is empty.",
            field=field,
            hint="Fill it in, or remove the row.",
        )


def _shown(roles: Sequence[str]) -> str:
    shown = ", ".join(roles[:12])
    return shown + (f", ... ({len(roles)})" if len(roles) > 12 else "")
