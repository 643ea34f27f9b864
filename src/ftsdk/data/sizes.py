"""How much text is in rows, in bytes of UTF-8: what is known of their length before a tokenizer is at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["SequenceSize", "TextSize", "answer_bytes", "sequences_of", "text_size"]


class SequenceSize(NamedTuple):
    """One sequence that goes through the model."""

    text_bytes: int
    messages: int


class TextSize(NamedTuple):
    """All sequences of a dataset; a preference row is two."""

    total_bytes: int
    longest_bytes: int


def text_size(rows: Sequence[Mapping[str, Any]]) -> TextSize:
    """Measure canonical rows, chat or preference."""
    sizes = [sequence.text_bytes for row in rows for sequence in sequences_of(row)]
    return TextSize(sum(sizes), max(sizes, default=0))


def sequences_of(row: Mapping[str, Any]) -> list[SequenceSize]:
    """Measure each sequence that a row becomes."""
    if "messages" in row:
        return [_size(row["messages"])]
    prompt = _size(row["prompt"])
    answers = (_size(row["chosen"]), _size(row["rejected"]))
    return [SequenceSize(prompt.text_bytes + answer.text_bytes, prompt.messages + answer.messages) for answer in answers]


def answer_bytes(row: Mapping[str, Any]) -> int:
    """Measure the answers of a row."""
    if "messages" in row:
        return sum(_bytes(message["content"]) for message in row["messages"] if message["role"] == "assistant")
    return _size(row["chosen"]).text_bytes + _size(row["rejected"]).text_bytes


def _size(messages: Any) -> SequenceSize:
    if isinstance(messages, str):
        return SequenceSize(_bytes(messages), 1)
    return SequenceSize(sum(_bytes(message["content"]) for message in messages), len(messages))


def _bytes(text: Any) -> int:
    text = text if isinstance(text, str) else str(text or "")
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
