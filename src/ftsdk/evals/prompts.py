"""What a user asks: a text, messages, or a list of these, as conversations up to the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from ftsdk.errors import DatasetError, SpecError
from ftsdk.evals.examples import Prompt
from ftsdk.spec.base import nearest

__all__ = ["Prompts", "read_prompts"]

_ROLES = ("system", "user", "assistant", "tool")
_FORMS = (
    "pass a text, a list of messages such as [{'role': 'user', 'content': '...'}], or a list of texts or of such lists"
)


class Prompts(NamedTuple):
    """Conversations to answer."""

    conversations: list[Prompt]
    is_one: bool
    """Whether a single one was passed, and not a list."""

    def where(self, index: int) -> str:
        """Return what to call a conversation in an error."""
        return "the prompt" if self.is_one else f"prompt {index + 1} of {len(self.conversations)}"


def read_prompts(prompt: object, *, system: str | None = None) -> Prompts:
    """Return what a user asks as conversations.

    Args:
        prompt: A text, a list of messages, or any iterable of texts or of lists of messages.
        system: Replaces the system messages of each; None keeps them.

    Raises:
        SpecError: It is something else.
        DatasetError: A message can't be read by a model.
    """
    if system is not None and not isinstance(cast("object", system), str):
        raise SpecError(f"system must be text; got {system!r}")
    if isinstance(prompt, str):
        return Prompts([_conversation(prompt, None, system)], is_one=True)
    if isinstance(prompt, Mapping):
        advice = "pass messages as a list: [{'role': ..., 'content': ...}]" if "role" in prompt else _FORMS
        raise SpecError(f"the prompt is a dict; {advice}")
    if isinstance(prompt, bytes | bytearray) or not isinstance(prompt, Iterable):
        raise SpecError(f"the prompt is of type {type(prompt).__name__}; {_FORMS}")
    items = list(cast("Iterable[object]", prompt))
    if items and all(isinstance(item, Mapping) for item in items):
        return Prompts([_conversation(items, None, system)], is_one=True)
    return Prompts([_conversation(item, number, system) for number, item in enumerate(items, start=1)], is_one=False)


def _conversation(item: object, number: int | None, system: str | None) -> Prompt:
    """Return one conversation; `number` counts from 1 in a list, and is None for a single one."""
    if isinstance(item, str):
        messages: list[Mapping[str, Any]] = [{"role": "user", "content": _text(item, number, None)}]
    elif isinstance(item, Mapping | bytes | bytearray) or not isinstance(item, Iterable):
        kind = type(item).__name__
        raise SpecError(f"prompt {number} is of type {kind}, neither a text nor a list of messages; {_FORMS}")
    else:
        messages = [_message(message, index, number) for index, message in enumerate(cast("Iterable[object]", item))]
    if system is not None:
        own = {"role": "system", "content": _text(system, None, "system")}
        messages = [own, *(message for message in messages if message["role"] != "system")]
    asked = [message for message in messages if message["role"] != "system"]
    if not asked:
        raise DatasetError("has nothing to answer.", line=number, field="messages", hint="Add the user's message.")
    if messages[-1]["role"] == "assistant":
        raise DatasetError(
            "ends with a message of the assistant, so there is nothing to answer.",
            line=number,
            field="messages",
            hint="Leave the last message out to have it written.",
        )
    return Prompt(messages)


def _message(item: object, index: int, number: int | None) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise DatasetError(
            f"message {index} is of type {type(item).__name__}; it must be {{'role': ..., 'content': ...}}.",
            line=number,
            field="messages",
        )
    message = cast("Mapping[str, Any]", item)
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES:
        known = nearest(role, _ROLES) if isinstance(role, str) else f"; known: {', '.join(_ROLES)}"
        what = f"the role {role!r}{known}" if "role" in message else f"no role{known}"
        raise DatasetError(f"message {index} has {what}", line=number, field="messages")
    if content is None and message.get("tool_calls"):
        content = ""
    if not isinstance(content, str):
        what = "no content" if content is None else f"content that is a {type(content).__name__}, not text"
        raise DatasetError(f"message {index} ({role}) has {what}.", line=number, field="messages")
    said = {key: value for key, value in message.items() if value is not None}
    return {**said, "content": _text(content, number, "messages")}


def _text(text: str, number: int | None, field: str | None) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"character {error.start} is half of a surrogate pair, which no model can read.", line=number, field=field
        ) from error
    return str(text)
