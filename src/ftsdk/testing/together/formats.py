"""What a training file must look like: the service's own check, after the upload."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

__all__ = ["Report", "check_file"]

_PARQUET = {"input_ids", "attention_mask", "labels", "position_ids"}
_BESIDE = {"weight", "tools", "parallel_tool_calls"}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the check found."""

    error: str = ""
    """What is wrong; empty if nothing is."""
    dataset_format: str = ""
    nlines: int = 0
    tokens: int = 0
    """One for four bytes, as good a guess as any."""


class _BadLineError(Exception):
    pass


def check_file(content: bytes, filename: str) -> Report:
    """Check a file as the service does, and count its rows and tokens."""
    try:
        return _check_parquet(content) if filename.endswith(".parquet") else _check_jsonl(content)
    except _BadLineError as error:
        return Report(error=str(error))


def _check_jsonl(content: bytes) -> Report:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _BadLineError(f"the file is no UTF-8: byte {error.start}") from error
    found = ""
    rows = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            kind = _check_row(_object(json.loads(line)))
        except json.JSONDecodeError as error:
            raise _BadLineError(f"line {number}: no JSON") from error
        except _BadLineError as error:
            raise _BadLineError(f"line {number}: {error}") from error
        if found not in ("", kind):
            raise _BadLineError(f"line {number}: format '{kind}' in a file of format '{found}'")
        found = kind
        rows += 1
    if not rows:
        raise _BadLineError("the file has no samples")
    return Report(dataset_format=found, nlines=rows, tokens=max(1, len(content) // 4))


def _check_row(row: dict[str, Any]) -> str:
    formats: dict[str, tuple[set[str], Callable[[dict[str, Any]], None]]] = {
        "conversation": ({"messages"}, lambda row: _check_messages(row["messages"])),
        "instruction": ({"prompt", "completion"}, _check_texts),
        "general": ({"text"}, _check_texts),
        "preference_openai": ({"input", "preferred_output", "non_preferred_output"}, _check_preference),
    }
    fitting = [kind for kind, (keys, _) in formats.items() if keys <= set(row)]
    if len(fitting) != 1:
        raise _BadLineError(f"expected exactly one format, found {fitting or sorted(row)}")
    keys, check = formats[fitting[0]]
    others = set(row) - keys - _BESIDE
    if others:
        raise _BadLineError(f"unexpected fields {sorted(others)}")
    check(row)
    return fitting[0]


def _check_texts(row: dict[str, Any]) -> None:
    for key in ("prompt", "completion", "text"):
        if key in row and not isinstance(row[key], str):
            raise _BadLineError(f"{key!r} is no text")


def _check_messages(value: object) -> None:
    if not isinstance(value, list) or not value:
        raise _BadLineError("'messages' is no list of messages")
    roles: list[str] = []
    for message in cast("list[object]", value):
        data = _object(message)
        role = data.get("role")
        if role not in ("system", "user", "assistant", "tool"):
            raise _BadLineError(f"unknown role {role!r}")
        if not isinstance(data.get("content"), (str, list)) and "tool_calls" not in data:
            raise _BadLineError("a message has no content")
        if data.get("weight", 1) not in (0, 1):
            raise _BadLineError("the weight of a message is 0 or 1")
        roles.append(role)
    if roles[0] not in ("system", "user"):
        raise _BadLineError("the first message must be the system's or the user's")
    turns = [role for role in roles if role in ("user", "assistant")]
    if "system" in roles[1:]:
        raise _BadLineError("the system's message must be the first")
    if "tool" not in roles and any(first == second for first, second in itertools.pairwise(turns)):
        raise _BadLineError("the user and the assistant must take turns")
    if "assistant" not in turns:
        raise _BadLineError("there is no message of the assistant")


def _check_preference(row: dict[str, Any]) -> None:
    given = _object(row["input"]).get("messages")
    if not isinstance(given, list) or not given:
        raise _BadLineError("'input' has no messages")
    for key in ("preferred_output", "non_preferred_output"):
        answers = row[key]
        if (
            not isinstance(answers, list)
            or len(cast("list[object]", answers)) != 1
            or _object(answers[0]).get("role") != "assistant"
        ):
            raise _BadLineError(f"{key!r} must be exactly one message of the assistant")


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _BadLineError("no JSON object")
    return cast("dict[str, Any]", value)


def _check_parquet(content: bytes) -> Report:
    from pyarrow import ArrowInvalid, parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(content))
    except ArrowInvalid as error:
        raise _BadLineError("the file is no Parquet") from error
    names = set(file.schema_arrow.names)
    if not {"input_ids", "attention_mask"} <= names or names - _PARQUET:
        raise _BadLineError(
            f"the columns are {sorted(names)}; needed: input_ids, attention_mask; allowed besides: labels, position_ids"
        )
    if not file.metadata.num_rows:
        raise _BadLineError("the file has no samples")
    tokens = sum(len(ids) for ids in file.read(["input_ids"])["input_ids"].to_pylist())
    return Report(dataset_format="tokenized", nlines=file.metadata.num_rows, tokens=max(1, tokens))
