"""Records of steps that can't be repeated: models were asked, or somebody judged the rows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftsdk.spec import Value
from ftsdk.spec.base import UsdAmount

__all__ = ["AskedModel", "AugmentStep", "JudgedStep", "MadeRow", "ReviewStep"]


class AskedModel(Value):
    """A model that was asked."""

    model: str
    endpoint: str | None = None
    """Its address, without secrets; None: it isn't an endpoint."""


class MadeRow(Value):
    """A row that a model made."""

    seeds: Annotated[tuple[int, ...], Field(strict=False)]
    """Positions of the rows that it was made of, in the dataset that was augmented."""
    on: str
    """The day on which the answer came, in UTC."""
    row: str
    """A digest of its content."""


class AugmentStep(Value):
    """What `Dataset.augment` did."""

    model: str
    endpoint: str | None = None
    """Its address, without secrets; None: it isn't an endpoint."""
    template: str
    """What it was asked."""
    temperature: float | None = None
    seed: int = 0
    source: str
    """What the new rows have for a source; their lines count from 1."""
    rows: int
    """New rows."""
    refused: int
    """Rows and answers that the gates refused; they are in `removed`."""
    stopped: str | None = None
    """Why less was asked than planned."""
    usd: UsdAmount | None = None
    """What the answers have cost, in US dollars; None: not known."""
    made: Annotated[tuple[MadeRow, ...], Field(strict=False)] = ()
    """Each new row, in order."""


class JudgedStep(Value):
    """What `Dataset.to_preference` did."""

    first: AskedModel
    second: AskedModel
    judge: AskedModel
    template: str | None = None
    """What the judge was asked; None: it is a function."""
    rows: int
    """Prompts with a better and a worse answer."""
    first_won: int
    """How many of these answers of the first model are the better ones."""
    refused: int
    """Prompts without: ties, equal or empty answers, and verdicts that can't be read. They are in `removed`."""
    stopped: str | None = None
    """Why less was asked than planned."""
    usd: UsdAmount | None = None
    """What all answers have cost, in US dollars; None: not known."""
    on: str
    """The day, in UTC."""


class ReviewStep(Value):
    """What `Dataset.reviewed` did."""

    kind: Literal["verdicts", "label_studio"]
    """The form of the file."""
    sha256: str
    """Of the file."""
    reviewed: int
    """Rows with a verdict or a correction."""
    removed: int
    corrected: int
