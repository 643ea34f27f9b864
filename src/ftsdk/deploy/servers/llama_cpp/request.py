"""Requests as clients send them, turned into requests that llama.cpp answers with one adapter and no other. Pure.

llama.cpp's server doesn't choose by `model`, and a request that leaves an adapter's scale out, or sends an empty list,
is answered from the cache of the adapter before (ggml-org/llama.cpp#26207). So each request gets the scale of every
adapter, and clients can't send scales of their own. The other half is in `child.py`: no cache of prompts beside the
slots.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

__all__ = ["ANSWERING", "PASSED_ON", "Refusal", "chosen_model", "error_body", "renamed", "renamed_line", "rewritten"]

ANSWERING = frozenset({"/v1/chat/completions", "/chat/completions", "/v1/completions", "/completions", "/completion"})
"""Paths of requests that the chosen model answers."""
PASSED_ON = frozenset({"/tokenize", "/detokenize", "/apply-template"})
"""Paths of requests that no adapter has a part in."""


class Refusal(Exception):
    """A request that isn't passed on.

    Args:
        status: The HTTP status.
        message: What is wrong, and what to do.
        code: OpenAI's word for it.
    """

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class Forwarded(NamedTuple):
    """A request for llama.cpp."""

    content: bytes
    model: str
    """What the client calls the model that answers."""


def rewritten(content: bytes, models: Mapping[str, int | None]) -> Forwarded:
    """Return a request with the scale of every adapter: 1 for that of the chosen model, 0 for all others.

    Args:
        content: The body as the client sent it.
        models: The adapter's number by the model's name; None is the base, without an adapter.

    Raises:
        Refusal: It isn't a JSON object, names no model or an unknown one, or brings scales of its own.
    """
    try:
        body: object = json.loads(content)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body isn't JSON", "invalid_json") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object", "invalid_json")
    fields = cast("dict[str, Any]", body)
    model = chosen_model(fields.get("model"), models)
    if "lora" in fields:
        raise Refusal(
            400, "'lora' can't be sent: the adapter is chosen by 'model', and scales of others must be 0", "lora"
        )
    chosen = models[model]
    count = sum(number is not None for number in models.values())
    fields["lora"] = [{"id": number, "scale": 1.0 if number == chosen else 0.0} for number in range(count)]
    return Forwarded(json.dumps(fields).encode(), model)


def chosen_model(name: object, models: Mapping[str, int | None]) -> str:
    """Return the name of a model that is served.

    Raises:
        Refusal: There is none of this name; the message lists those that there are.
    """
    if isinstance(name, str) and name in models:
        return name
    there = ", ".join(repr(known) for known in models)
    if name is None:
        raise Refusal(400, f"'model' is missing; this server has {there}", "model_missing")
    near = difflib.get_close_matches(name, models, n=1) if isinstance(name, str) else []
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise Refusal(404, f"no model {str(name)[:100]!r} on this server; it has {there}{meant}", "model_not_found")


def renamed(content: bytes, model: str) -> bytes:
    """Return an answer in which the model has the name that the client knows it by; what isn't JSON stays as it is."""
    try:
        body: object = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not isinstance(body, dict) or "model" not in body:
        return content
    return json.dumps({**cast("dict[str, Any]", body), "model": model}).encode()


def renamed_line(line: bytes, model: str) -> bytes:
    """Return a line of a stream of events with the client's name for the model."""
    if not line.startswith(b"data: {"):
        return line
    return b"data: " + renamed(line[6:].rstrip(b"\r\n"), model) + b"\n"


def error_body(refusal: Refusal) -> bytes:
    """Return a refusal in the form that clients of OpenAI's API read."""
    error = {"message": refusal.message, "type": "invalid_request_error", "code": refusal.code, "param": None}
    return json.dumps({"error": error}).encode()
