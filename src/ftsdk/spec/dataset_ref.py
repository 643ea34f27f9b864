"""A dataset as the spec knows it: by content."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftsdk.spec.base import Value

__all__ = ["DataFormat", "DatasetRef"]

DataFormat = Literal["chat", "preference"]
"""`chat`: rows of `messages` that end with the assistant. `preference`: rows of `prompt`, `chosen`, `rejected`."""


class DatasetRef(Value):
    """Rows, named by what is in them; the rows themselves lie in the content-addressed store."""

    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the canonical rows, in order."""
    format: DataFormat
    rows: Annotated[int, Field(ge=1)]
    name: str = "data"
    """Where it came from, for people."""
    total_bytes: Annotated[int, Field(ge=0)] | None = None
    """Of the text in all sequences, a preference row being two; None: not measured. Devices and time are chosen by it."""
    longest_bytes: Annotated[int, Field(ge=0)] | None = None
    """Of the text in the longest sequence."""
