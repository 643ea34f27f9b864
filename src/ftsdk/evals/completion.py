"""What a chat completion says: the answer, whether it was cut off, and the tokens that the server counted."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Completion", "completion_in"]

_MOST_TOKENS = 10**9
"""No request has as many."""


class Completion(NamedTuple):
    """The parts of a chat completion that matter here."""

    text: str
    is_cut: bool
    input_tokens: int | None
    output_tokens: int | None


def completion_in(body: Any) -> Completion:
    """Read a chat completion.

    Args:
        body: What the server sent, as it comes out of JSON.

    Raises:
        KeyError: A part is missing; likewise IndexError, TypeError and AttributeError for parts of another kind.
    """
    choice = body["choices"][0]
    message = choice["message"]
    text = message["content"]
    if text is None:  # a call of a tool, an answer cut off within its reasoning, or a refusal
        text = message.get("refusal")
    if text is not None and not isinstance(text, str):
        raise TypeError("the content of the message isn't text")
    given, taken = _usage_in(body.get("usage"))
    return Completion(text or "", choice.get("finish_reason") == "length", given, taken)


def _usage_in(usage: Any) -> tuple[int | None, int | None]:
    """Return the tokens of prompt and answer that a server reports; None for what isn't a count."""
    if not isinstance(usage, dict):
        return None, None
    given, taken, total = (_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    if given is not None and taken is not None and total is not None:
        taken = max(taken, total - given)  # some count reasoning in the total only
    return given, taken


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None
