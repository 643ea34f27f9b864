"""A dataset as the spec knows it: by content."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftsdk.spec.base import Value

__all__ = ["DataFormat", "DatasetRef", "TokenGuess"]

DataFormat = Literal["chat", "preference"]
"""`chat`: rows of `messages` that end with the assistant. `preference`: rows of `prompt`, `chosen`, `rejected`."""


class TokenGuess(Value):
    """Tokens as guessed from text: with 80 % confidence between `few` and `many`."""

    few: Annotated[int, Field(ge=0)]
    """With a tokenizer of many words."""
    likely: Annotated[int, Field(ge=0)]
    """The guess."""
    many: Annotated[int, Field(ge=0)]
    """With a tokenizer of few words, or text unlike English prose."""


class DatasetRef(Value):
    """Rows, named by what is in them; the rows themselves lie in the content-addressed store."""

    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the canonical rows, in order."""
    format: DataFormat
    rows: Annotated[int, Field(ge=1)]
    name: str = "data"
    """Where it came from, for people."""
    tokens: TokenGuess | None = None
    """Of all sequences, a preference row being two, guessed from their text; None: nobody has looked. Devices and limits are chosen by it."""
    longest_tokens: TokenGuess | None = None
    """Of the longest sequence, likewise."""
