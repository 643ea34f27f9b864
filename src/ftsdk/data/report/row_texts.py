"""The texts of a dataset's rows, read a batch at a time for all checks that need a row alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice, pairwise
from typing import Any, NamedTuple, cast

from ftsdk.data.asked import answers_of, prompts_of, wholes_of
from ftsdk.data.batches import Batch
from ftsdk.data.message_columns import has_plain_messages, messages_of
from ftsdk.data.message_rows import Row, message_lists
from ftsdk.data.row_keys import Format, answer_text, prompt_text
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.text_column import TextColumn
from ftsdk.models.chat_template import message_text

__all__ = ["RowTexts", "TextChunk", "read_chunks"]

_ROWS = 1024
"""Rows of a chunk: what is looked at of them stays in the processor's cache."""


class TextChunk(NamedTuple):
    """The texts of some consecutive rows."""

    texts: list[str]
    """Messages, or the cells of a table."""
    rows: list[int]
    """The row of each text."""
    prompts: list[str]
    """What comes before the answer of each row; of a table all its texts."""
    answers: list[str]
    """The answer of each row; in preference data the chosen one, of a table empty."""
    roles: list[tuple[str, ...]]
    """The roles of the conversation of each row; empty where there is none."""


class RowTexts(NamedTuple):
    """The texts that checks of a whole dataset read, each made anew from the rows whenever it is read."""

    whole: TextColumn
    """Prompt and answer of each row as one text."""
    prompts: TextColumn
    """What comes before the answer of each row; of a table all its texts."""
    answers: TextColumn
    """The answer of each row; a table has none."""

    @classmethod
    def of_messages(cls, rows: RowSequence, form: Format) -> RowTexts:
        """Return the texts of chat or preference rows. No copy is made."""
        return cls(wholes_of(rows, form), prompts_of(rows, form), answers_of(rows, form))

    @classmethod
    def of_cells(cls, texts: Iterable[str]) -> RowTexts:
        """Return the texts of the rows of a table: collected once, in a mapped file where they are many."""
        cells = TextColumn(texts)
        return cls(cells, cells, TextColumn(()))


def read_chunks(rows: Iterable[Row], form: Format) -> Iterator[TextChunk]:
    """Yield the texts of rows, about 1,024 rows at a time.

    Args:
        rows: The rows.
        form: What they are, as `Dataset.format`.
    """
    if form == "chat" and isinstance(rows, RowSequence):
        yield from _read_chat(rows.batches())
        return
    remaining, first = iter(rows), 0
    while part := list(islice(remaining, _ROWS)):
        chunk = TextChunk([], [], [], [], [])
        _add_rows(chunk, part, form, first)
        yield chunk
        first += len(part)


def _read_chat(batches: Iterator[Batch]) -> Iterator[TextChunk]:
    first = 0
    for batch in batches:
        chunk = TextChunk([], [], [], [], [])
        if has_plain_messages(batch):
            _add_plain(chunk, batch, first)
        else:
            _add_rows(chunk, RowSequence([batch], message_lists), "chat", first)
        yield chunk
        first += batch.rows


def _add_plain(chunk: TextChunk, batch: Batch, first: int) -> None:
    """Append chat rows whose messages have a role and a content alone."""
    said = messages_of(batch.arrow.column("messages"))
    texts: list[str] = said.contents.to_pylist()
    roles: list[str] = said.roles.to_pylist()
    counts: list[int] = said.counts.tolist()
    chunk.texts.extend(texts)
    if counts.count(2) == len(counts):  # one question and its answer
        numbers = range(first, first + batch.rows)
        chunk.rows.extend(chain.from_iterable(zip(numbers, numbers, strict=True)))
        chunk.prompts.extend(texts[::2])
        chunk.answers.extend(texts[1::2])
        chunk.roles.extend(zip(roles[::2], roles[1::2], strict=True))
        return
    for row, (count, (start, end)) in enumerate(zip(counts, pairwise(accumulate(counts, initial=0)), strict=True)):
        chunk.rows.extend([first + row] * count)
        chunk.prompts.append(texts[start] if count == 2 else "\n".join(texts[start : end - 1]))
        chunk.answers.append(texts[end - 1])
        chunk.roles.append(tuple(roles[start:end]))


def _add_rows(chunk: TextChunk, rows: Iterable[Row], form: Format, first: int) -> None:
    for number, row in enumerate(rows, start=first):
        texts, prompt, answer, roles = _read(row, form)
        chunk.texts.extend(texts)
        chunk.rows.extend([number] * len(texts))
        chunk.prompts.append(prompt)
        chunk.answers.append(answer)
        chunk.roles.append(roles)


def _read(row: Mapping[str, Any], form: Format) -> tuple[Sequence[str], str, str, tuple[str, ...]]:
    if form == "table":
        texts: list[str] = []
        roles: tuple[str, ...] = ()
        for value in row.values():
            if isinstance(value, str):
                texts.append(value)
            elif isinstance(value, list) and value and all(isinstance(one, dict) for one in cast("list[Any]", value)):
                messages = cast("list[dict[str, Any]]", value)
                texts += [text for one in messages for text in one.values() if isinstance(text, str)]
                roles = roles or tuple(str(one["role"]) for one in messages if "role" in one)
        return texts, "\n".join(texts), "", roles
    if form in ("chat", "unpaired"):
        messages = row["messages"]
        texts = [message_text(message) for message in messages]
        return texts, prompt_text(row, form), answer_text(row), tuple(str(message["role"]) for message in messages)
    texts = [message_text(message) for side in ("prompt", "chosen", "rejected") for message in row[side]]
    return texts, prompt_text(row, form), answer_text(row), ()
