"""From canonical rows to the service's JSON lines, so that the loss covers the same tokens as on other backends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftsdk.data import read_stored_rows
from ftsdk.data.location import Location
from ftsdk.data.message_columns import has_plain_messages
from ftsdk.data.message_rows import BESIDE
from ftsdk.spec import TrainOn

__all__ = ["chat_row", "file_name", "preference_row", "render_file", "trains_on_inputs", "used_features"]


def trains_on_inputs(train_on: TrainOn) -> bool:
    """Return `train_on_inputs`: only `"all"` trains on prompts too."""
    return train_on == "all"


def chat_row(
    messages: Sequence[Mapping[str, Any]], *, train_on: TrainOn, beside: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a conversation as the service reads it.

    The service trains every assistant message unless its weight is 0, so `"completion"` gives the earlier ones weight
    0. Rows of which every assistant message is trained need no weights, and get none.

    Args:
        messages: The conversation.
        train_on: What the loss counts.
        beside: `tools` and `parallel_tool_calls` of the row, which stand beside the messages.
    """
    turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    trained = [number for number in turns if "weight" not in messages[number]]
    trained = trained[-1:] if train_on == "completion" else trained
    rendered: list[dict[str, Any]] = []
    for number, message in enumerate(messages):
        entry = _plain(message)
        if trained != turns and message["role"] == "assistant":
            entry["weight"] = int(number in trained)
        rendered.append(entry)
    return {"messages": rendered, **(beside or {})}


def preference_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a preference pair as the service reads it.

    The conversation with its tools, and exactly one assistant message on each side.
    """
    return {
        "input": {"messages": [_plain(message) for message in row["prompt"]], **_beside(row)},
        "preferred_output": [_plain(message) for message in row["chosen"]],
        "non_preferred_output": [_plain(message) for message in row["rejected"]],
    }


def used_features(source: Path) -> frozenset[str]:
    """Return which of `tools` and `reasoning` a file of canonical rows uses: not every model is tuned with them.

    Args:
        source: As the store writes it.
    """
    rows = read_stored_rows(source)
    found: set[str] = set()
    # Rows of plain messages, which most files have, can use neither.
    if not all(map(has_plain_messages, rows.batches())):
        for row in rows:
            said = [message for side, messages in row.items() if side not in BESIDE for message in messages]
            if "tools" in row or any("tool_calls" in message for message in said):
                found.add("tools")
            if any("reasoning_content" in message for message in said):
                found.add("reasoning")
    return frozenset(found)


def render_file(source: Path, target: Path, *, train_on: TrainOn | None, name: str) -> str:
    """Write the service's file from a file of canonical rows, row by row.

    Args:
        source: As the store writes it.
        target: The file to write.
        train_on: What the loss counts; None for preference rows.
        name: Name of the dataset, for errors.

    Returns:
        SHA-256 of the file: the same rows give the same.

    Raises:
        DatasetError: A row that the service would train otherwise than it says.
    """
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for line in _rendered(read_stored_rows(source), train_on=train_on, name=name):
            digest.update(line)
            file.write(line)
    return digest.hexdigest()


def file_name(sha256: str) -> str:
    """Return the name that a file is uploaded under: it names the content, so that the same content is found again."""
    return f"ftsdk-{sha256}.jsonl"


def _rendered(rows: Iterable[Mapping[str, Any]], *, train_on: TrainOn | None, name: str) -> Iterator[bytes]:
    for number, row in enumerate(rows, start=1):
        where = Location(name, number)
        for side, messages in row.items():
            if side not in BESIDE:
                _check(messages, side, where)
        if train_on is None:
            rendered = preference_row(row)
        else:
            _check_trained(row["messages"], train_on, where)
            rendered = chat_row(row["messages"], train_on=train_on, beside=_beside(row))
        yield json.dumps(rendered, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _check(messages: Sequence[Mapping[str, Any]], field: str, where: Location) -> None:
    is_called = False
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            is_called = "tool_calls" in message
        if message["role"] == "tool" and not is_called:
            raise where.error(
                "has a message from 'tool'; Together trains on tool messages only together with the calls that they "
                "answer.",
                field=field,
                hint="Leave such rows out, or train on another backend.",
            )
        if any("id" not in call for call in message.get("tool_calls", ())) or (
            message["role"] == "tool" and "tool_call_id" not in message
        ):
            raise where.error(
                f"message {index} has a call, or answers one, without an id; Together takes calls with 'id', and "
                "answers with 'tool_call_id'.",
                field=field,
                hint="Give calls ids, or train on another backend.",
            )
        if message["role"] != "tool" and "name" in message:
            raise where.error(
                f"message {index} has 'name', which Together doesn't document for training.",
                field=field,
                hint="Put the name into the text, or train on another backend.",
            )


def _check_trained(messages: Sequence[Mapping[str, Any]], train_on: TrainOn, where: Location) -> None:
    """Refuse what the service would train otherwise.

    Of conversations with reasoning it trains the last answer only
    (https://docs.together.ai/docs/fine-tuning/reasoning, read 2026-11-27).
    """
    if train_on == "completion" and "weight" in messages[-1]:
        raise where.error(
            "the last message has the weight 0, and train_on='completion' trains nothing else.",
            field="messages",
            hint="Use train_on='assistant', or end the conversation with an answer that is trained.",
        )
    answers = [message for message in messages if message["role"] == "assistant"]
    trained = sum("weight" not in message for message in answers)
    thinks = any("reasoning_content" in message or "</think>" in message["content"] for message in answers)
    if thinks and train_on != "completion" and len(answers) > 1 and (trained > 1 or "weight" in answers[-1]):
        raise where.error(
            "has several answers and reasoning; of such conversations Together trains the last answer only.",
            field="messages",
            hint="Use train_on='completion', make a row of each answer with what comes before it, or train on another "
            "backend, which trains such a row turn by turn.",
        )


def _beside(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in BESIDE if name in row}


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without our weight; one that only calls tools has no content."""
    found = {key: value for key, value in message.items() if key != "weight"}
    if not found["content"] and "tool_calls" in found:
        del found["content"]
    return found
