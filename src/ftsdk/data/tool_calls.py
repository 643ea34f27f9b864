"""Tools and their calls, as OpenAI writes them, and in the one form that rows keep.

Arguments stay the JSON text that the model wrote, with its spacing, its order of keys and its numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ftsdk.data.json_text import read_json, refuse_depth
from ftsdk.data.location import Location
from ftsdk.spec.base import nearest

__all__ = ["TOOL_COLUMNS", "check_calls", "read_calls", "read_function_call", "read_tool_columns"]

TOOL_COLUMNS = ("tools", "functions", "parallel_tool_calls")
"""Columns beside a conversation that `read_tool_columns` reads."""

Message = dict[str, Any]


def read_tool_columns(row: Mapping[str, Any], where: Location) -> dict[str, Any]:
    """Return what a row has beside its conversation: `tools` and `parallel_tool_calls`, where they say something.

    Legacy `functions` are tools by another name. Tools may be JSON text, as typed tables have to hold them.

    Raises:
        DatasetError: They aren't in OpenAI's form; names the column.
    """
    found: dict[str, Any] = {}
    tools, functions = (_tool_list(row.get(name), where, name) for name in ("tools", "functions"))
    if tools and functions:
        raise where.error("can't go with a column 'tools'.", field="functions", hint="Keep one of the two.")
    field = "tools" if tools else "functions"
    read = [_tool(tool, index, where, field) for index, tool in enumerate(tools or functions)]
    names = [tool["function"]["name"] for tool in read]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise where.error(f"names {twice!r} twice, so a call of it would be ambiguous.", field=field)
    if read:
        found["tools"] = read
    parallel = row.get("parallel_tool_calls")
    if parallel is not None:
        if not isinstance(parallel, bool):
            raise where.error(f"is {parallel!r:.80}, not true or false.", field="parallel_tool_calls")
        if read:  # without tools it means nothing
            found["parallel_tool_calls"] = parallel
    return found


def _tool_list(value: object, where: Location, field: str) -> Sequence[object]:
    if isinstance(value, str) and value.strip():
        try:
            value = read_json(value)
        except (ValueError, RecursionError) as error:
            raise where.error(f"is text that isn't JSON: {error}.", field=field) from error
    if value is None or value == "":
        return ()
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise where.error(f"is a {type(value).__name__}; it must be a list of tools.", field=field)
    return cast("Sequence[object]", value)


def _tool(tool: object, index: int, where: Location, field: str) -> dict[str, Any]:
    """Return `{"type": "function", "function": {...}}`; a bare function is wrapped into that."""
    what = f"tool {index}"
    data = _object(tool, what, where, field)
    kind = data.pop("type", "function") if "function" in data or data.get("type") == "function" else "function"
    if kind != "function":
        raise where.error(f"{what} has the type {kind!r:.80}; only functions can be trained on.", field=field)
    function = _object(data.pop("function"), what, where, field) if "function" in data else data
    if function is not data and data:
        raise where.error(f"{what} has {next(iter(data))!r:.80} beside its function.", field=field)
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        raise where.error(f"{what} has no name.", field=field)
    if not isinstance(function.get("description", ""), str):
        raise where.error(f"{what} ({name}) has a description that isn't text.", field=field)
    parameters = function.get("parameters", {})
    if isinstance(parameters, str):
        try:
            parameters = function["parameters"] = read_json(parameters)
        except (ValueError, RecursionError) as error:
            raise where.error(f"{what} ({name}) has parameters that aren't JSON: {error}.", field=field) from error
    if not isinstance(parameters, dict):
        raise where.error(f"{what} ({name}) has parameters that aren't an object.", field=field)
    properties = cast("dict[str, Any]", parameters).get("properties")
    if isinstance(properties, dict):
        empty = next((key for key, value in cast("dict[str, Any]", properties).items() if value is None), None)
        if empty is not None:
            raise where.error(
                f"{what} ({name}) describes its parameter {empty!r} as null.",
                field=field,
                hint="Typed tables such as Parquet fill in nulls for what other rows have: hold tools as JSON text.",
            )
    return {"type": "function", "function": _plain(function, what, where, field)}


def _object(value: object, what: str, where: Location, field: str) -> dict[str, Any]:
    """Return an object without keys that are null, which say nothing."""
    if not isinstance(value, Mapping):
        raise where.error(f"{what} is a {type(value).__name__}, not an object.", field=field)
    return {key: one for key, one in cast("Mapping[str, Any]", value).items() if one is not None}


def _plain(value: Any, what: str, where: Location, field: str) -> Any:
    """Return a value as JSON has it, plain Python all through.

    Raises:
        DatasetError: It holds something that JSON doesn't have, or that no model can read.
    """
    refuse_depth({field: value}, where)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise where.error(f"{what} can't be written as JSON: {error}.", field=field) from error
    return json.loads(text)


def read_calls(value: object, index: int, where: Location, field: str) -> list[dict[str, Any]]:
    """Return the `tool_calls` of a message in canonical form: id, type, and the function with its arguments as text.

    Args:
        value: A list of calls.
        index: Which message has them, for errors.
        where: The row, for errors.
        field: The column, for errors.

    Raises:
        DatasetError: It isn't a list of calls in OpenAI's form.
    """
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise where.error(
            f"message {index} has 'tool_calls' that are a {type(value).__name__}, not a list.", field=field
        )
    return [_call(call, f"call {number} of message {index}", where, field) for number, call in enumerate(value)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def read_function_call(value: object, index: int, where: Location, field: str) -> list[dict[str, Any]]:
    """Return legacy `function_call` as the one call without an id that it is.

    Raises:
        DatasetError: It isn't an object with a name and arguments.
    """
    return [_call({"function": value}, f"'function_call' of message {index}", where, field)]


def _call(value: object, what: str, where: Location, field: str) -> dict[str, Any]:
    call = _object(value, what, where, field)
    call.pop("index", None)  # streamed answers number their calls
    if call.pop("type", "function") != "function":
        raise where.error(f"{what} has a type other than 'function', which can't be trained on.", field=field)
    function = _object(call.pop("function", None), f"the function of {what}", where, field)
    identity = call.pop("id", None)
    name, arguments = function.pop("name", None), function.pop("arguments", None)
    if others := [*call, *function]:
        raise where.error(f"{what} has {others[0]!r:.80}, which can't be trained on.", field=field)
    if identity is not None and not isinstance(identity, str):
        raise where.error(f"{what} has an id that isn't text.", field=field)
    if not isinstance(name, str) or not name.strip():
        raise where.error(f"{what} names no function.", field=field)
    made = {"type": "function", "function": {"name": name, "arguments": _arguments(arguments, what, where, field)}}
    return made if not identity else {"id": identity, **made}


def _arguments(value: object, what: str, where: Location, field: str) -> str:
    """Return arguments as JSON text of an object; none at all are an empty object."""
    if value is None or value == "":
        return "{}"
    if isinstance(value, Mapping):
        return json.dumps(_plain(value, f"the arguments of {what}", where, field), ensure_ascii=False)
    if not isinstance(value, str):
        raise where.error(f"the arguments of {what} are a {type(value).__name__}, not an object.", field=field)
    try:
        read = read_json(value)
    except (ValueError, RecursionError) as error:
        raise where.error(
            f"the arguments of {what} aren't JSON: {error}.",
            field=field,
            hint="The model would learn to write calls that can't be parsed: mend or remove the row.",
        ) from error
    if not isinstance(read, dict):
        raise where.error(f"the arguments of {what} are no JSON object.", field=field)
    _plain(read, f"the arguments of {what}", where, field)
    return value.strip()


def check_calls(row: Mapping[str, Any], where: Location, field: str) -> None:
    """Check the calls of one list of messages against the tools of the row.

    Args:
        row: `messages`, and `tools` and `parallel_tool_calls` where the row has them.
        where: The row, for errors.
        field: The column of the messages, for errors.

    Raises:
        DatasetError: A call of a tool that isn't offered, or several calls at once where the row rules them out.
    """
    names = [tool["function"]["name"] for tool in row.get("tools", ())]
    for index, message in enumerate(row["messages"]):
        calls = message.get("tool_calls", ())
        if len(calls) > 1 and row.get("parallel_tool_calls") is False:
            raise where.error(f"message {index} has {len(calls)} calls, and parallel_tool_calls is false.", field=field)
        for call in calls:
            name = call["function"]["name"]
            if names and name not in names:
                raise where.error(
                    f"message {index} calls {name!r}, which isn't among the row's tools{nearest(name, names)}",
                    field=field,
                )
