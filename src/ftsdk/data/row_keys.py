"""When two rows are the same, or ask the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from ftsdk.data.folded_hashes import BLANKS, hash_of_bytes
from ftsdk.data.message_rows import BESIDE
from ftsdk.models.chat_template import message_text

__all__ = [
    "Format",
    "answer_text",
    "asked_of",
    "hash_of",
    "loose_prompt_hash",
    "prompt_key",
    "prompt_text",
    "row_hash",
    "row_key",
]

Format = Literal["table", "chat", "preference", "unpaired"]


def row_key(row: Mapping[str, Any], format: Format) -> object:  # noqa: A002
    """Return what two rows share if they are equal; a number and its text aren't."""
    if format == "table":
        return repr(sorted(row.items()))
    return tuple(_beside(row[name]) if name in BESIDE else _said(row[name]) for name in sorted(row))


def row_hash(row: Mapping[str, Any], format: Format) -> int:  # noqa: A002
    """Return 64 bits of a `row_key`."""
    if format == "table":
        return hash_of(str(row_key(row, format)))
    return hash_of("\0\0".join("\0".join(part) for part in cast("tuple[tuple[str, ...], ...]", row_key(row, format))))


def prompt_key(row: Mapping[str, Any], format: Format) -> object:  # noqa: A002
    """Return what two rows share if they ask the same: everything before the answer. Of a table, the whole row."""
    return row_key(row, format) if format == "table" else (*_said(asked_of(row)), *_beside(row.get("tools")))


def loose_prompt_hash(row: Mapping[str, Any], format: Format) -> int:  # noqa: A002
    """Return 64 bits that prompts share which differ by case and blanks alone; of a table, rows that are equal.

    Those of chat and preference rows are other ones in each process.
    """
    if format == "table":
        return row_hash(row, format)
    # Blanks are left out altogether: it is fast, and "now here" and "nowhere" may be drawn together.
    folded = [text.lower() if text.isascii() else text.casefold() for text in _said(asked_of(row))]
    if not all(map(str.isascii, folded)):
        folded = ["".join(text.split()) for text in folded]
    return hash_of_bytes("\0".join(folded).encode("utf-8", "surrogatepass").translate(None, BLANKS))


def hash_of(text: str) -> int:
    """Return 64 bits of BLAKE2b of a text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def prompt_text(row: Mapping[str, Any], format: Format) -> str:  # noqa: A002
    """Return everything before the answer as one text. Of a table, all of the row's texts."""
    if format == "table":
        return "\n".join(value for _, value in sorted(row.items()) if isinstance(value, str))
    return "\n".join(map(message_text, asked_of(row)))


def asked_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages before the answer of a chat or preference row."""
    return row["messages"][:-1] if "messages" in row else row["prompt"]


def answer_text(row: Mapping[str, Any]) -> str:
    """Return the answer of a conversation, calls included and reasoning not; of preference rows the chosen one."""
    said = row["messages"] if "messages" in row else row["chosen"]
    return message_text(said[-1], with_reasoning=False)


def _said(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(text for message in messages for text in _parts(message))


def _parts(message: Mapping[str, Any]) -> Iterator[str]:
    yield message["role"]
    yield message["content"]
    if len(message) > 2:
        # The ids of calls are drawn at random: rows that differ by them alone say the same.
        yield message_text(message)
        yield message.get("name", "")


def _beside(value: object) -> tuple[str, ...]:
    return () if value is None else (json.dumps(value, sort_keys=True),)
