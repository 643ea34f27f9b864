"""A dataset as the spec knows it: by content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field

from ftsdk.spec.base import Value
from ftsdk.spec.interval import Range

__all__ = ["MAKING_ROWS", "DataFormat", "DatasetRef"]

DataFormat = Literal["chat", "preference", "unpaired"]
"""`chat`: rows of `messages` that end with the assistant. `preference`: rows of `prompt`, `chosen`, `rejected`.
`unpaired`: rows of `messages` and a `label`, true if the last answer is a good one."""

MAKING_ROWS: Mapping[DataFormat, str] = {
    "chat": "Dataset.as_chat(prompt=, completion=)",
    "preference": "Dataset.as_preference(prompt=, chosen=, rejected=)",
    "unpaired": "Dataset.as_unpaired(prompt=, completion=, label=)",
}
"""The call that makes rows of each format, for messages."""


def _from_old_words(tokens: object) -> object:
    """Read a guess as ledgers before 2026-11-27 have it: few, likely, many."""
    if not isinstance(tokens, Mapping) or "few" not in tokens:
        return cast("object", tokens)
    words = {"few": "low", "many": "high"}
    return {words.get(key, key): amount for key, amount in cast("Mapping[str, Any]", tokens).items()}


Tokens = Annotated[Range, BeforeValidator(_from_old_words)]


class DatasetRef(Value):
    """Rows, identified by their content; the rows themselves are in the content-addressed store."""

    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the canonical rows, in order."""
    format: DataFormat
    rows: Annotated[int, Field(ge=1)]
    sequences: Annotated[int, Field(ge=1)] | None = None
    """Training sequences of the rows, for the model of the job; None: one each, or not known. A conversation has
    several where the chat template rewrites earlier turns."""
    name: str = "data"
    """Display name: where the rows came from."""
    tokens: Tokens | None = None
    """Tokens of all sequences, a preference row being two, guessed from their text; None: not guessed. Backends choose
    devices and limits by it."""
    longest_tokens: Tokens | None = None
    """Tokens of the longest sequence, guessed from its text."""
    lineage: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] | None = None
    """What was done to the rows, if they were cleaned, mixed or grown. A record: it decides nothing, and ends up in the
    manifest of the weights."""

    @property
    def training_sequences(self) -> int:
        """How many sequences an epoch goes through; a preference pair is one."""
        return self.rows if self.sequences is None else self.sequences
