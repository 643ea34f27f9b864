"""What an eval asks: a dataset as evals see it, and its rows as questions with references."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ftsdk.errors import DatasetError

__all__ = ["EvalData", "Example", "read_examples"]


@runtime_checkable
class EvalData(Protocol):
    """What an eval needs of a dataset; `ftsdk.Dataset` fits."""

    @property
    def name(self) -> str:
        """Display name: where the rows came from."""
        ...

    @property
    def format(self) -> str:
        """Must be `"chat"`."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the rows."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def to_dict(self, base: Path | None = None) -> dict[str, Any]:
        """Return the recipe from which the dataset can be built again."""
        ...


class Example(NamedTuple):
    """One prompt and its reference answer."""

    prompt: list[dict[str, Any]]
    """The conversation up to the answer."""
    expected: str
    """The reference: the last assistant message of the row."""

    @property
    def prompt_text(self) -> str:
        """The prompt as lines of `role: content`."""
        return "\n".join(f"{message['role']}: {message['content']}" for message in self.prompt)


def read_examples(data: EvalData) -> list[Example]:
    """Return the examples in the order of the rows.

    Raises:
        DatasetError: A row doesn't end with an assistant message that follows a prompt.
    """
    found: list[Example] = []
    for index, row in enumerate(data):
        messages = row["messages"]
        if len(messages) < 2 or messages[-1].get("role") != "assistant":
            message = "must end with an assistant message that follows a prompt."
            raise DatasetError(message, source=data.name, line=index + 1, field="messages")
        found.append(Example(list(messages[:-1]), str(messages[-1]["content"])))
    return found
