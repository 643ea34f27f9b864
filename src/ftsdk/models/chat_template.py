"""What a chat template is given: canonical messages in the shape that servers of models give them to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

__all__ = [
    "Conversation",
    "TemplateShape",
    "as_template_sees",
    "message_text",
    "parsed_arguments",
    "render_conversations",
    "template_shape",
    "trained_turns",
]

Messages = Sequence[Mapping[str, Any]]


class Conversation(NamedTuple):
    """A conversation, or its beginning."""

    messages: Messages
    tools: Sequence[Mapping[str, Any]] | None = None
    """The tools that the model is offered, as JSON Schema in OpenAI's form."""

    def before(self, message: int) -> Conversation:
        """Return what comes before a message."""
        return Conversation(self.messages[:message], self.tools)

    @property
    def uses_tools(self) -> bool:
        """Whether tools are offered, or called."""
        return bool(self.tools) or any("tool_calls" in message for message in self.messages)


class TemplateShape(NamedTuple):
    """How a template takes what templates take in different shapes."""

    reasoning: str = "reasoning_content"
    """The key of a message under which it looks for reasoning."""
    arguments: Literal["object", "text"] = "object"
    """Whether it writes the arguments of a call as JSON itself, or takes JSON text."""


def message_text(message: Mapping[str, Any], *, with_reasoning: bool = True) -> str:
    """Return all that a message says as one text: its content, its reasoning before it, its calls behind it."""
    content: str = message.get("content") or ""
    if len(message) <= 2:
        return content
    calls = [f"{call['function']['name']}({call['function']['arguments']})" for call in message.get("tool_calls", ())]
    reasoning = message.get("reasoning_content", "") if with_reasoning else ""
    return "\n".join(filter(None, [reasoning, content, *calls])) if reasoning or calls else content


def trained_turns(messages: Messages) -> list[int]:
    """Return which messages of the assistant are trained, wherever they are in the conversation."""
    return [turn for turn, message in enumerate(messages) if message["role"] == "assistant" and "weight" not in message]


def parsed_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call, which messages hold as JSON text, as an object."""
    return cast("dict[str, Any]", json.loads(call["function"]["arguments"]))


def as_template_sees(messages: Messages, shape: TemplateShape) -> list[Mapping[str, Any]]:
    """Return messages as servers hand them to a template: without our weights, arguments as the template takes them."""
    return [message if len(message) == 2 else _shaped(message, shape) for message in messages]


def _shaped(message: Mapping[str, Any], shape: TemplateShape) -> dict[str, Any]:
    made = {key: value for key, value in message.items() if key not in ("weight", "reasoning_content")}
    if "reasoning_content" in message:
        made[shape.reasoning] = message["reasoning_content"]
    if "tool_calls" in message and shape.arguments == "object":
        made["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": parsed_arguments(call)}}
            for call in message["tool_calls"]
        ]
    return made


_TOOL = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Search.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string", "description": "What."}}},
    },
}
_PROBE = Conversation(
    [
        {"role": "user", "content": "Hi."},
        {
            "role": "assistant",
            "content": "",
            # Mistral's templates take ids of nine letters and digits alone.
            "tool_calls": [
                {
                    "id": "abcdefgh1",
                    "type": "function",
                    "function": {"name": "search", "arguments": '{"query": "rain"}'},
                }
            ],
        },
    ],
    [_TOOL],
)
"""A conversation with a call, by which a template shows how it takes arguments."""
_AS_PYTHON = "{'query': 'rain'}"
"""What a template writes that puts an object where it takes text."""


def template_shape(tokenizer: Any, template: str | None = None) -> TemplateShape:
    """Find out how a template takes reasoning and the arguments of calls: by rendering a call, not by its name.

    Args:
        tokenizer: A Hugging Face tokenizer.
        template: A Jinja template in place of the tokenizer's own.
    """
    own: Any = template or tokenizer.chat_template
    source = "\n".join(map(str, own.values())) if isinstance(own, dict) else str(own)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    known = ("reasoning_content", "reasoning", "thinking")
    reasoning = next((key for key in known if re.search(rf"[.'\"]{key}\b", source)), known[0])
    for shape in (TemplateShape(reasoning), TemplateShape(reasoning, "text")):
        try:
            text = render_conversations(tokenizer, [_PROBE], shape, template=template)[0]
        except TimeoutError:
            raise
        except Exception:  # noqa: BLE001 - a template is a program: this one takes them in the other shape
            continue
        if _AS_PYTHON not in text:
            return shape
    return TemplateShape(reasoning)


def render_conversations(
    tokenizer: Any,
    conversations: Sequence[Conversation],
    shape: TemplateShape,
    *,
    template: str | None = None,
    generation_prompt: bool = False,
) -> list[str]:
    """Render conversations to text, those with the same tools together: a tokenizer takes one list of tools a call.

    Args:
        tokenizer: A Hugging Face tokenizer.
        conversations: Whole or in part.
        shape: How the template takes messages.
        template: A Jinja template in place of the tokenizer's own.
        generation_prompt: End with what invites the assistant to speak.

    Raises:
        Exception: What the template raises: it is a program.
    """
    groups: dict[str, list[int]] = {}
    for index, conversation in enumerate(conversations):
        groups.setdefault(json.dumps(conversation.tools) if conversation.tools else "", []).append(index)
    texts: dict[int, str] = {}
    for group in groups.values():
        tools = conversations[group[0]].tools
        found = tokenizer.apply_chat_template(
            [as_template_sees(conversations[index].messages, shape) for index in group],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=generation_prompt,
            **({"tools": list(tools)} if tools else {}),
        )
        texts.update(zip(group, found, strict=True))
    return [texts[index] for index in range(len(conversations))]
