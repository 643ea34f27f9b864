"""Whether a chat template writes tools and their calls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, cast

from ftsdk.models.chat_template import Conversation, parsed_arguments

__all__ = ["is_tool_missing"]

_MOST_OBJECTS = 10_000
"""JSON objects that are looked for in a text."""


def is_tool_missing(conversation: Conversation, text: str, trained: Mapping[int, str]) -> bool:
    """Return whether the template left out a tool, what describes it, or a call.

    Arguments count as written when they are there as JSON, however spaced, or one by one.
    """
    tools = [tool["function"] for tool in conversation.tools or ()]
    if not all(_is_tool_in(tool, text) for tool in tools):
        return True
    # What describes the tools has their names too.
    described = json.dumps(tools, ensure_ascii=False)
    calls = [
        (call, trained.get(n))
        for n, message in enumerate(conversation.messages)
        for call in message.get("tool_calls", ())
    ]
    objects: dict[str | None, Counter[str]] = {}
    names = Counter(call["function"]["name"] for call, turn in calls if turn is None)
    if any(text.count(name) < count + described.count(name) for name, count in names.items()):
        return True
    wanted: dict[str | None, Counter[str]] = {}
    for call, turn in calls:
        name, arguments = call["function"]["name"], parsed_arguments(call)
        region = text if turn is None else turn
        if name not in region:
            return True
        if _is_written_out(call, arguments, region):
            continue
        if turn not in objects:
            objects[turn] = Counter(map(_key, _objects_in(region)))
        key = _key(arguments)
        wanted.setdefault(turn, Counter())[key] += 1
        if wanted[turn][key] > objects[turn][key] and not _is_in_pieces(arguments, region):
            return True
    return False


def _is_tool_in(tool: Mapping[str, Any], text: str) -> bool:
    properties = tool.get("parameters", {}).get("properties", {})
    names = list(properties) if isinstance(properties, dict) else []
    return all(_is_text_in(part, text) for part in (tool["name"], tool.get("description", ""), *names))


def _is_written_out(call: Mapping[str, Any], arguments: dict[str, Any], text: str) -> bool:
    """Return whether arguments are there once or more as most templates write them: the common case, and fast."""
    return arguments != {} and (
        json.dumps(arguments, ensure_ascii=False) in text or call["function"]["arguments"] in text
    )


def _is_text_in(part: str, text: str) -> bool:
    """Return whether a text is there as it is, or inside of a JSON string."""
    part = part.strip()
    return part in text or any(json.dumps(part, ensure_ascii=ascii_)[1:-1] in text for ascii_ in (False, True))


def _is_in_pieces(value: object, text: str) -> bool:
    """Return whether all keys and values are there, in whatever form: some models write calls as XML."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        return all(_is_text_in(key, text) and _is_in_pieces(one, text) for key, one in members)
    if isinstance(value, list):
        return all(_is_in_pieces(one, text) for one in cast("list[object]", value))
    if isinstance(value, str):
        return _is_text_in(value, text)
    return json.dumps(value) in text or str(value) in text


def _key(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _objects_in(text: str) -> Iterator[dict[str, Any]]:
    """Yield every JSON object in a text, also those inside of others and of JSON strings."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    for _ in range(_MOST_OBJECTS):
        if start < 0:
            return
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield from _objects_of(found)
        start = text.find("{", end)


def _objects_of(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        yield found
        for one in found.values():
            yield from _objects_of(one)
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            yield from _objects_of(one)
