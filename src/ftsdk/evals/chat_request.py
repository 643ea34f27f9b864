"""The body of a request for a chat completion, in the words that the server takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, assert_never, cast

from ftsdk.evals.constraints import Choices, Constraint, JsonSchema
from ftsdk.evals.generation import Conversation, tools_of

__all__ = ["ChatRequest", "LimitName", "RequestWords", "StructuredName", "constraint_fields", "unwrapped_choice"]

LimitName = Literal["max_tokens", "max_completion_tokens"]
StructuredName = Literal["response_format", "structured_outputs", "guided"]

_PER_MESSAGE_TOKENS = 16
"""The most that the template of a chat adds to a message."""
_CHOICE = "answer"
"""The property that holds the choice, where a choice has to be an object."""
_SPARE_TOKENS = 8


@dataclass(frozen=True, kw_only=True)
class RequestWords:
    """Which parameters a server takes; what it refuses is left out from then on."""

    limit: LimitName = "max_tokens"
    sends_temperature: bool = True

    @property
    def optional(self) -> tuple[str, ...]:
        """Parameters that a request can do without."""
        return (*(("max_tokens",) if self.limit == "max_tokens" else ()), *(("temperature",) * self.sends_temperature))

    def without(self, parameter: str) -> RequestWords:
        """Return the words of a server that refuses `max_tokens` or `temperature`."""
        if parameter == "temperature":
            return replace(self, sends_temperature=False)
        return replace(self, limit="max_completion_tokens")


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One conversation that is to be answered."""

    model: str
    conversation: Conversation
    max_new_tokens: int
    temperature: float | None = 0
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """More parameters, such as `response_format`."""

    def body(self, words: RequestWords) -> bytes:
        """Return the request as JSON."""
        return json.dumps(self._parameters(words)).encode()

    def most_input_tokens(self) -> int:
        """Return an upper bound of the tokens of the prompt, tools and schema included: a token is at least a byte."""
        written = json.dumps(self._parameters(RequestWords()), ensure_ascii=False).encode("utf-8", "replace")
        return len(written) + _PER_MESSAGE_TOKENS * (len(self.conversation) + 1)

    def _parameters(self, words: RequestWords) -> dict[str, Any]:
        found: dict[str, Any] = {
            "model": self.model,
            "messages": list(self.conversation),
            words.limit: self.max_new_tokens,
        }
        if self.temperature is not None and words.sends_temperature:
            found["temperature"] = self.temperature
        if tools := tools_of(self.conversation):
            found["tools"] = list(tools)
        return found | dict(self.fields)


def constraint_fields(constraint: Constraint, name: StructuredName) -> tuple[dict[str, Any], int]:
    """Return the parameters that hold answers to a constraint, and the fewest tokens that an answer must have room for.

    Args:
        constraint: Choices or a schema.
        name: How the server calls it.
    """
    least = 0
    match constraint:
        case Choices(choices):
            wrapped = [json.dumps({_CHOICE: choice}) for choice in choices]
            least = max(len(text) for text in wrapped) + _SPARE_TOKENS if name == "response_format" else 0
            value: Any = list(choices)
            kind = "choice"
        case JsonSchema(schema):
            value = dict(schema)
            kind = "json"
        case _:
            assert_never(constraint)
    match name:
        case "structured_outputs":
            return {"structured_outputs": {kind: value}}, least
        case "guided":
            return {f"guided_{kind}": value}, least
        case "response_format":
            schema = (
                value
                if kind == "json"
                else {
                    "type": "object",
                    "properties": {_CHOICE: {"type": "string", "enum": value}},
                    "required": [_CHOICE],
                    "additionalProperties": False,
                }
            )
            held = {"name": "answer", "strict": True, "schema": schema}
            return {"response_format": {"type": "json_schema", "json_schema": held}}, least
        case _:
            assert_never(name)


def unwrapped_choice(text: str, constraint: Constraint | None) -> str:
    """Return the choice in an object that holds it; any other text as it came."""
    if not isinstance(constraint, Choices):
        return text
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    choice = cast("dict[str, Any]", found).get(_CHOICE) if isinstance(found, dict) else None
    return choice if isinstance(choice, str) and choice in constraint.choices else text
