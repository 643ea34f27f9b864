"""Rows as texts: what steps of cleaning read, and rows with other texts in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, cast

from ftsdk.data.location import Location
from ftsdk.data.row_keys import answer_text, prompt_text
from ftsdk.data.row_sequence import RowSequence

__all__ = ["CleanRows", "TextBatch", "texts_of", "with_answer", "with_texts"]

_ROWS = 8_192
"""Rows that are held as Python at a time."""

_NO_TEXTS = frozenset({"role", "id", "type", "name", "tool_call_id", "tools"})
"""Keys of conversations whose values say nothing, or whose change would break what refers to them."""

Row = dict[str, Any]
Format = Literal["table", "chat", "preference", "unpaired"]


class TextBatch(NamedTuple):
    """Consecutive rows and all of their texts."""

    first: int
    """Position of the first row."""
    rows: list[Row]
    texts: list[str]
    row_of: list[int]
    """By text, the number of its row in `rows`."""


class CleanRows:
    """The rows that a step looks at."""

    def __init__(self, rows: RowSequence, format: Format, places: Callable[[], Iterator[Location]]) -> None:  # noqa: A002
        """Hold rows, what they are, and where they come from."""
        self.rows = rows
        self.format: Format = format
        self.places = places

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self) -> Iterator[tuple[int, list[Row]]]:
        """Yield the rows a batch at a time, each with the position of its first row."""
        for start in range(0, len(self.rows), _ROWS):
            yield start, list(self.rows[start : start + _ROWS])

    def text_batches(self) -> Iterator[TextBatch]:
        """Yield all texts of the rows a batch at a time: the messages of conversations, the cells of a table."""
        for first, rows in self.batches():
            texts: list[str] = []
            row_of: list[int] = []
            for number, row in enumerate(rows):
                found = texts_of(row, self.format)
                texts += found
                row_of += [number] * len(found)
            yield TextBatch(first, rows, texts, row_of)

    def whole_texts(self) -> list[str]:
        """Return each row as one text, of preference rows with the chosen answer."""
        return [text for _, rows in self.batches() for text in (_whole(row, self.format) for row in rows)]

    def prompts(self) -> list[str]:
        """Return everything before the answer as one text. Of a table, all texts of the row."""
        return [prompt_text(row, self.format) for _, rows in self.batches() for row in rows]

    def answers(self) -> list[str]:
        """Return the answer of each row, of preference rows the chosen one; a table has none."""
        if self.format == "table":
            return []
        return [answer_text(row) for _, rows in self.batches() for row in rows]


def with_answer(row: Row, answer: str) -> Row:
    """Return a conversation with another last message; one that calls tools stays as it is."""
    *asked, last = row["messages"]
    if "tool_calls" in last:
        return row
    return {**row, "messages": [*asked, {**last, "content": answer}]}


def texts_of(row: Row, format: Format) -> list[str]:  # noqa: A002
    """Return all texts of a row in order, also those in lists and objects. Names of columns and roles aren't texts.

    Of a conversation: what is said, thought and passed to tools; not the tools, nor the names and ids of calls.
    """
    found: list[str] = []
    _collect(row, found, format != "table")
    return found


def with_texts(row: Row, format: Format, texts: Sequence[str]) -> Row:  # noqa: A002
    """Return a row with other texts in place of those that `texts_of` returns."""
    return cast("Row", _filled(row, iter(texts), format != "table"))


def _whole(row: Row, format: Format) -> str:  # noqa: A002
    text = prompt_text(row, format)
    return text if format == "table" else f"{text}\n{answer_text(row)}"


def _collect(value: object, found: list[str], is_chat: bool) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, dict):
        for key, one in cast("dict[str, object]", value).items():
            if is_chat and key == "arguments":
                _collect(json.loads(str(one)), found, False)
            elif not (is_chat and key in _NO_TEXTS):
                _collect(one, found, is_chat)
    elif isinstance(value, (list, tuple)):
        for one in cast("Sequence[object]", value):
            _collect(one, found, is_chat)


def _filled(value: object, texts: Iterator[str], is_chat: bool) -> object:
    if isinstance(value, str):
        return next(texts)
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        return {
            key: _refilled(str(one), texts)
            if is_chat and key == "arguments"
            else one
            if is_chat and key in _NO_TEXTS
            else _filled(one, texts, is_chat)
            for key, one in members
        }
    if isinstance(value, (list, tuple)):
        return [_filled(one, texts, is_chat) for one in cast("Sequence[object]", value)]
    return value


def _refilled(arguments: str, texts: Iterator[str]) -> str:
    """Return the arguments of a call with other texts in them, and as they are written where none is another."""
    before = json.loads(arguments)
    after = _filled(before, texts, False)
    return arguments if after == before else json.dumps(after, ensure_ascii=False)
