"""What an eval asks: a dataset as evals see it, and its rows as questions with references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ftsdk.errors import DatasetError
from ftsdk.models.chat_template import message_text

__all__ = ["EvalData", "Example", "HasColumns", "Prompt", "read_examples"]


class Prompt(list[dict[str, Any]]):
    """A conversation up to the answer: a list of messages, and the tools that the model is offered."""

    def __init__(self, messages: Iterable[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> None:
        """Copy messages, without the weights that training gives them."""
        super().__init__({key: value for key, value in message.items() if key != "weight"} for message in messages)
        self.tools = tuple(tools)
        """As JSON Schema in OpenAI's form; empty: none."""


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
    """The conversation up to the answer; a `Prompt` where it has tools."""
    expected: str
    """The reference: the last assistant message of the row, after its reasoning if it has any."""
    columns: Mapping[str, Any] = MappingProxyType({})
    """The values of the row in the columns that the eval names: its slices, its group, and what its scorer reads."""

    @property
    def prompt_text(self) -> str:
        """The prompt as lines of `role: content`."""
        return "\n".join(f"{message['role']}: {message_text(message)}" for message in self.prompt)


@runtime_checkable
class HasColumns(Protocol):
    """An optional ability of the data of an eval: the values of a column beside the conversations."""

    def column(self, name: str) -> list[Any]:
        """Return one value for each row, in their order.

        Raises:
            DatasetError: No such column.
        """
        ...


def read_examples(data: EvalData, columns: Sequence[str] = ()) -> list[Example]:
    """Return the examples in the order of the rows.

    Args:
        data: Chat rows.
        columns: Columns whose values the examples carry.

    Raises:
        DatasetError: A row doesn't end with an assistant message that follows a prompt, or that message calls tools:
            scorers compare texts, and each model writes calls in a format of its own.
    """
    if columns and not isinstance(data, HasColumns):
        raise DatasetError(f"an eval reads the column {columns[0]!r}, and this data has no columns.", source=data.name)
    values = {name: data.column(name) for name in columns} if isinstance(data, HasColumns) else {}
    found: list[Example] = []
    for index, row in enumerate(data):
        messages = row["messages"]
        if len(messages) < 2 or messages[-1].get("role") != "assistant":
            message = "must end with an assistant message that follows a prompt."
            raise DatasetError(message, source=data.name, line=index + 1, field="messages")
        last = messages[-1]
        if "tool_calls" in last:
            raise DatasetError(
                "ends with calls of tools, and evals compare texts.",
                source=data.name,
                line=index + 1,
                field="messages",
                hint="Leave the row out of the eval, or end it with the answer that follows the calls.",
            )
        expected = str(last["content"])
        if "reasoning_content" in last:
            expected = f"<think>\n{last['reasoning_content']}\n</think>\n\n{expected}"
        prompt = Prompt(messages[:-1], row.get("tools", ()))
        found.append(Example(prompt, expected, {name: column[index] for name, column in values.items()}))
    return found
