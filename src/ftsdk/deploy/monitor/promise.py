"""What a thousand accepted answers were to cost."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field

from ftsdk._format import money
from ftsdk._rich_text import rich_text
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import OptionalUsd, Usd, usd_default

if TYPE_CHECKING:
    from ftsdk.cost import CrossoverAnswer

__all__ = ["Promise"]


class Promise(Value):
    """What a crossover promised for the model that answers now."""

    usd_per_1k_accepted: Annotated[Usd, Field(ge=0)]
    option: str = "self-hosted"
    """What was to answer."""
    api_usd_per_1k_accepted: OptionalUsd = usd_default(None)
    """What the API was to cost instead."""

    @classmethod
    def of(cls, answer: CrossoverAnswer, option: str = "self-hosted") -> Self:
        """Take it from a crossover.

        Raises:
            SpecError: The crossover has no such option.
        """
        try:
            chosen, api = answer.option(option), answer.option("api")
        except KeyError as error:
            raise SpecError(str(error.args[0])) from error
        return cls(
            usd_per_1k_accepted=chosen.usd_per_1k_accepted,
            option=option,
            api_usd_per_1k_accepted=api.usd_per_1k_accepted,
        )

    @classmethod
    def from_file(cls, path: str | Path, option: str = "self-hosted") -> Self:
        """Take it from a crossover's JSON: `ftsdk cost crossover FILE --json > crossover.json`.

        Raises:
            SpecError: The file can't be read, or isn't a crossover's.
        """
        from ftsdk.cost import CrossoverAnswer

        try:
            text = Path(path).read_text(encoding="utf-8")
            data = json.loads(text)
        except (OSError, ValueError) as error:
            raise SpecError(f"the crossover in {path} can't be read: {error}") from error
        return cls.of(CrossoverAnswer.from_dict(data), option)

    def __str__(self) -> str:
        return f"{money(Decimal(self.usd_per_1k_accepted))} per 1,000 accepted answers ({self.option})"

    __rich__ = rich_text
