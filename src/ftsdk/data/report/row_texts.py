"""The texts of a dataset's rows, held once in Arrow, and one pass over them for all checks that need a row alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast, overload

from ftsdk.data.message_rows import Row
from ftsdk.data.row_keys import Format, answer_text, prompt_text
from ftsdk.data.text_column import TextColumn, text_array
from ftsdk.models.chat_template import message_text

__all__ = ["Part", "RowTexts", "TextChunk", "read_chunks"]

_ROWS = 4_096


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


def read_chunks(rows: Iterable[Row], form: Format) -> Iterator[TextChunk]:
    """Yield the texts of rows, 4,096 rows at a time.

    Args:
        rows: The rows.
        form: What they are, as `Dataset.format`.
    """
    chunk = TextChunk([], [], [], [], [])
    for number, row in enumerate(rows):
        texts, prompt, answer, roles = _read(row, form)
        chunk.texts.extend(texts)
        chunk.rows.extend([number] * len(texts))
        chunk.prompts.append(prompt)
        chunk.answers.append(answer)
        chunk.roles.append(roles)
        if len(chunk.prompts) == _ROWS:
            yield chunk
            chunk = TextChunk([], [], [], [], [])
    if chunk.prompts:
        yield chunk


def _read(row: Mapping[str, Any], form: Format) -> tuple[list[str], str, str, tuple[str, ...]]:
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
    if form == "chat":
        messages = row["messages"]
        texts = [message_text(message) for message in messages]
        return texts, prompt_text(row, form), answer_text(row), tuple(str(message["role"]) for message in messages)
    texts = [message_text(message) for side in ("prompt", "chosen", "rejected") for message in row[side]]
    return texts, prompt_text(row, form), answer_text(row), ()


class RowTexts:
    """The prompts and answers of all rows, held once, in Arrow."""

    def __init__(self) -> None:
        """Start without rows."""
        self._chunks: list[Any] = []
        self._cuts: list[Any] = []
        self._answers: list[Any] = []

    def add(self, chunk: TextChunk) -> None:
        """Append rows."""
        import numpy as np

        pairs = zip(chunk.prompts, chunk.answers, strict=True)
        texts = [f"{prompt}\n{answer}" if answer else prompt for prompt, answer in pairs]
        self._chunks.append(text_array(texts))
        self._cuts.append(np.fromiter(map(len, chunk.prompts), dtype=np.int64, count=len(texts)))
        self._answers.append(np.fromiter(map(len, chunk.answers), dtype=np.int64, count=len(texts)))

    @property
    def whole(self) -> TextColumn:
        """Prompt and answer of each row as one text."""
        return TextColumn.over(self._chunks)

    @property
    def answer_lengths(self) -> Any:
        """Characters of each answer, as a NumPy array."""
        import numpy as np

        return np.concatenate(self._answers) if self._answers else np.empty(0, dtype=np.int64)

    @property
    def prompts(self) -> Part:
        """The prompts."""
        return Part(self._chunks, self._cuts, is_prompt=True)

    @property
    def answers(self) -> Part:
        """The answers."""
        return Part(self._chunks, self._cuts, is_prompt=False)


class Part(Sequence[str]):
    """The prompt or the answer of each row, made a Python string when somebody asks for it."""

    def __init__(self, chunks: Sequence[Any], cuts: Sequence[Any], *, is_prompt: bool) -> None:
        """Look at the rows of some chunks."""
        self._chunks = chunks
        self._cuts = cuts
        self._is_prompt = is_prompt

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def __iter__(self) -> Iterator[str]:
        for texts, cuts in zip(self._chunks, self._cuts, strict=True):
            pairs = zip(texts.to_pylist(), cuts.tolist(), strict=True)
            yield from (
                (text[:cut] for text, cut in pairs) if self._is_prompt else (text[cut + 1 :] for text, cut in pairs)
            )

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        chunk, place = divmod(index, _ROWS)  # all chunks but the last have so many rows
        text, cut = self._chunks[chunk][place].as_py(), int(self._cuts[chunk][place])
        return text[:cut] if self._is_prompt else text[cut + 1 :]
