"""The rows of a suite: chat rows with columns, in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from ftsdk.errors import DatasetError

__all__ = ["SuiteRows", "chat_row", "read_prompts"]


@dataclass(frozen=True)
class SuiteRows:
    """Chat rows, and columns beside them; fits `EvalData` and `HasColumns`."""

    name: str
    """Display name, such as `"suite general"`."""
    rows: Sequence[Mapping[str, Any]] = field(repr=False)
    """Each with `messages`, and perhaps `tools`; every other key is a column."""
    format: str = "chat"

    recipe: Mapping[str, Any] | None = None
    """The name of the suite under `suite`, and its arguments, where it can be called again with those; else None."""
    fingerprint: str = field(init=False)
    """SHA-256 of the rows, columns included."""

    def __post_init__(self) -> None:
        text = json.dumps([dict(row) for row in self.rows], sort_keys=True, ensure_ascii=True, default=str)
        object.__setattr__(self, "fingerprint", hashlib.sha256(text.encode()).hexdigest())

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            tools = {"tools": row["tools"]} if row.get("tools") else {}
            yield {"messages": [dict(message) for message in row["messages"]], **tools}

    def column(self, name: str) -> list[Any]:
        """Return one value for each row; see `HasColumns.column`."""
        if not any(name in row for row in self.rows):
            raise DatasetError(f"there is no column {name!r}.", source=self.name)
        return [row.get(name) for row in self.rows]

    def to_dict(self, base: Path | None = None) -> dict[str, Any]:
        """Return the name of the suite and its arguments.

        Raises:
            DatasetError: The suite was called with data, or isn't known by name.
        """
        del base
        if self.recipe is None:
            raise DatasetError(
                "can't be part of a job: it depends on data of its own.",
                source=self.name,
                hint="Measure it after the training: run.evaluate([*evals, *format_bleed(train)]).",
            )
        return dict(self.recipe)


def chat_row(prompt: str, answer: str, **columns: Any) -> dict[str, Any]:
    """Return a row of one question and its reference answer."""
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **columns}


def read_prompts(name: str) -> list[dict[str, Any]]:
    """Return the lines of a file of prompts in this package.

    Args:
        name: Of the file, without its suffix.
    """
    text = files("ftsdk.evals.suites").joinpath("prompts", f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
