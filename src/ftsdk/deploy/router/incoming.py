"""A request of a client, read and checked, and the conversation that it belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from ftsdk.deploy.router.requests import RouteRequest
from ftsdk.errors import SpecError

__all__ = ["route_request"]

_LONGEST_LABEL = 100
_MOST_ANSWERS = 128
"""Of one request; OpenAI's own limit."""
_MOST_TOKENS = 10**9
_LARGEST_SCHEMA = 256 << 10
_DEEPEST = 100
"""Levels of a request; schemas of tools have a dozen, and what can be read nested deeper can't always be written."""


def route_request(body: Any, *, conversation: str | None = None, slice_name: str | None = None) -> RouteRequest:
    """Return a request to be routed.

    A conversation without an id is known by its `user`, or by its messages up to the first of the user, which stay the
    same while it goes on.

    Args:
        body: The request of a chat completion, as it comes out of JSON.
        conversation: The id of the conversation; None: see above.
        slice_name: A label for the record.

    Raises:
        SpecError: It isn't the request of a chat completion.
    """
    if not isinstance(body, dict):
        raise SpecError("the request must be a JSON object")
    fields = cast("dict[str, Any]", body)
    messages: Any = fields.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):  # pyright: ignore[reportUnknownVariableType]
        raise SpecError("messages must be a list of objects with role and content, at least one")
    _check_depth(fields)
    _check_amounts(fields)
    _check_schema_size(fields.get("response_format"))
    user: Any = fields.get("user")
    if not conversation:
        conversation = user if isinstance(user, str) and user else _opening(cast("list[dict[str, Any]]", messages))
    label = None if slice_name is None else slice_name[:_LONGEST_LABEL]
    return RouteRequest(body=fields, conversation=conversation, slice=label)


def _check_schema_size(asked: Any) -> None:
    if asked is not None and len(json.dumps(asked, default=str)) > _LARGEST_SCHEMA:
        raise SpecError(f"response_format has more than {_LARGEST_SCHEMA >> 10} KiB, too many to check answers by")


def _check_depth(fields: Mapping[str, Any]) -> None:
    level: list[Any] = [fields]
    for _ in range(_DEEPEST):
        level = [
            part
            for one in level
            for part in (one.values() if isinstance(one, dict) else one)
            if isinstance(part, dict | list)
        ]
        if not level:
            return
    raise SpecError(f"the request is nested deeper than {_DEEPEST} levels")


def _check_amounts(fields: Mapping[str, Any]) -> None:
    """Raise for what decides over the cost and can be read in two ways: some targets take `"5"` and 5.0 for 5."""
    if not isinstance(fields.get("stream"), bool | None):
        raise SpecError("stream must be true or false")
    for name, most in (("n", _MOST_ANSWERS), ("max_tokens", _MOST_TOKENS), ("max_completion_tokens", _MOST_TOKENS)):
        amount: Any = fields.get(name)
        if amount is not None and (type(amount) is not int or not 1 <= amount <= most):
            raise SpecError(f"{name} must be a whole number from 1 to {most:,}")


def _opening(messages: list[Mapping[str, Any]] | list[dict[str, Any]]) -> str:
    found: list[Any] = []
    for message in messages:
        found.append(message.get("content"))
        if message.get("role") == "user":
            break
    return json.dumps(found, default=str)
