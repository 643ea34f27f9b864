"""From canonical rows to the service's JSON lines, so that the loss covers the same tokens as on other backends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftsdk.data import read_stored_rows
from ftsdk.errors import DatasetError
from ftsdk.spec import TrainOn

__all__ = ["chat_row", "file_name", "preference_row", "render_file", "trains_on_inputs"]


def trains_on_inputs(train_on: TrainOn) -> bool:
    """Return `train_on_inputs`: only `"all"` trains on prompts too."""
    return train_on == "all"


def chat_row(messages: Sequence[Mapping[str, str]], *, train_on: TrainOn) -> dict[str, Any]:
    """Return a conversation as the service reads it.

    The service trains every assistant message unless its weight is 0, so `"completion"` gives the earlier ones weight
    0. Rows with one assistant message need no weights, and get none.
    """
    turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    is_weighted = train_on == "completion" and len(turns) > 1
    rendered: list[dict[str, Any]] = []
    for number, message in enumerate(messages):
        entry: dict[str, Any] = {"role": message["role"], "content": message["content"]}
        if is_weighted and message["role"] == "assistant":
            entry["weight"] = int(number == turns[-1])
        rendered.append(entry)
    return {"messages": rendered}


def preference_row(row: Mapping[str, Sequence[Mapping[str, str]]]) -> dict[str, Any]:
    """Return a preference pair as the service reads it.

    The conversation, and exactly one assistant message on each side.
    """
    return {
        "input": {"messages": [_plain(message) for message in row["prompt"]]},
        "preferred_output": [_plain(message) for message in row["chosen"]],
        "non_preferred_output": [_plain(message) for message in row["rejected"]],
    }


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
        _check(row, name, number)
        rendered = preference_row(row) if train_on is None else chat_row(row["messages"], train_on=train_on)
        yield json.dumps(rendered, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _check(row: Mapping[str, Sequence[Mapping[str, str]]], name: str, number: int) -> None:
    for field, messages in row.items():
        if any(message["role"] == "tool" for message in messages):
            # Its tool messages answer `tool_calls` of the message before, which canonical rows don't have.
            raise DatasetError(
                "has a message from 'tool'; Together trains on tool messages only together with the calls that they "
                "answer.",
                source=name,
                line=number,
                field=field,
                hint="Leave such rows out, or train on another backend.",
            )


def _plain(message: Mapping[str, str]) -> dict[str, str]:
    return {"role": message["role"], "content": message["content"]}
