"""What a chat template is given: canonical messages in the shape that servers of models give them to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ftsdk.data.tool_calls import parsed_arguments

__all__ = ["AS_PYTHON", "PROBE", "Conversation", "TemplateShape", "as_template_sees", "conversation_of"]

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


def conversation_of(row: Mapping[str, Any], *sides: str) -> Conversation:
    """Return the messages of some lists of a canonical row, one after the other, with the row's tools."""
    return Conversation([message for side in sides for message in row[side]], row.get("tools"))


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
PROBE = Conversation(
    [
        {"role": "user", "content": "Hi."},
        {
            "role": "assistant",
            "content": "",
            # Mistral's templates take ids of nine letters and digits alone.
            "tool_calls": [
                {"id": "abcdefgh1", "type": "function", "function": {"name": "search", "arguments": '{"query": "rain"}'}}
            ],
        },
    ],
    [_TOOL],
)
"""A conversation with a call, by which a template shows how it takes arguments."""
AS_PYTHON = "{'query': 'rain'}"
"""What a template writes that puts an object where it takes text."""
