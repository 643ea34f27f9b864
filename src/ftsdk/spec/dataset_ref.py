"""A dataset as the spec knows it: by content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from ftsdk.spec.base import Value

__all__ = ["MAKING_ROWS", "DataFormat", "DatasetRef", "TokenGuess"]

DataFormat = Literal["chat", "preference"]
"""`chat`: rows of `messages` that end with the assistant. `preference`: rows of `prompt`, `chosen`, `rejected`."""

MAKING_ROWS: Mapping[DataFormat, str] = {
    "chat": "Dataset.as_chat(prompt=, completion=)",
    "preference": "Dataset.as_preference(prompt=, chosen=, rejected=)",
}
"""The call that makes rows of each format, for messages."""


class TokenGuess(Value):
    """A token count guessed from text: with 80 % confidence it lies between `few` and `many`."""

    few: Annotated[int, Field(ge=0)]
    """With a tokenizer of many words."""
    likely: Annotated[int, Field(ge=0)]
    """The most likely count."""
    many: Annotated[int, Field(ge=0)]
    """With a tokenizer of few words, or text unlike English prose."""


class DatasetRef(Value):
    """Rows, identified by their content; the rows themselves are in the content-addressed store."""

    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the canonical rows, in order."""
    format: DataFormat
    rows: Annotated[int, Field(ge=1)]
    name: str = "data"
    """Display name: where the rows came from."""
    tokens: TokenGuess | None = None
    """Tokens of all sequences, guessed from their text; a preference row is two sequences. None: not counted.
    Devices and limits are chosen by it."""
    longest_tokens: TokenGuess | None = None
    """Tokens of the longest sequence, guessed likewise."""
