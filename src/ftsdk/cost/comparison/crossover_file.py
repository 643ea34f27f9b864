"""A crossover as a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BeforeValidator, Field

from ftsdk._format import money
from ftsdk._numbers import quoted_amount
from ftsdk._yaml import parse_yaml
from ftsdk.cost.comparison.workload import Api, Dedicated, Operations, Quality, SelfHosted, Serverless, Workload
from ftsdk.errors import SpecError
from ftsdk.protocol import CostRange
from ftsdk.spec import Value
from ftsdk.spec.base import UsdAmount

if TYPE_CHECKING:
    from ftsdk.cost.comparison.answer import CrossoverAnswer
    from ftsdk.cost.comparison.inputs import HasCost
    from ftsdk.cost.pricebook.book import PriceBook

__all__ = ["CrossoverFile", "read_yaml"]


def _training(given: object) -> object:
    """Read dollars or a range before pydantic tries the union, whose messages are about types."""
    given = quoted_amount(given)
    if isinstance(given, Mapping):
        return CostRange.from_dict(cast("Mapping[str, Any]", given))
    if isinstance(given, (bool, str, list, tuple)):
        raise ValueError(
            "US dollars of one run as a number, such as 12.5 without quotes, or low, likely, high and source; got "
            f"{given!r}"
        )
    if isinstance(given, (int, float, Decimal)) and not (Decimal(given).is_finite() and given >= 0):
        raise ValueError(f"US dollars of one run can't be {given}: give a number from 0 up")
    return given


class CrossoverFile(Value):
    """The arguments of `crossover`, by the same names."""

    workload: Workload
    api: str | Api
    self_hosted: SelfHosted
    training: Annotated[UsdAmount | CostRange | None, BeforeValidator(_training)] = None
    """US dollars of one training run, or `low`, `likely`, `high` and `source`."""
    retrains_per_year: Annotated[float, Field(ge=0)] = 0.0
    dedicated: Dedicated | None = Dedicated()
    """`null` leaves the option out."""
    serverless: Serverless | None = Serverless()
    """`null` leaves the option out."""
    other_apis: tuple[str | Api, ...] = ()
    operations: Operations = Operations()
    quality: Quality = Quality()
    solve_for: str | None = None
    scenarios: Annotated[int, Field(ge=100)] = 100_000
    seed: Annotated[int, Field(ge=0)] = 0
    discount_per_year: Annotated[float, Field(ge=0)] = 0.10

    @classmethod
    def from_yaml(cls, path: str | Path) -> CrossoverFile:
        """Return the inputs in a YAML file.

        Raises:
            SpecError: It can't be read, isn't YAML, or has an unknown key or an impossible value.
        """
        return cls.from_dict(read_yaml(Path(path)))

    def answer(
        self, *, training: HasCost | CostRange | Decimal | float | None = None, book: PriceBook | None = None
    ) -> CrossoverAnswer:
        """Return the answer of `crossover`.

        Args:
            training: An estimate, or dollars, instead of the file's own figure; a note says what was replaced.
            book: Prices; None loads all layers.

        Raises:
            SpecError: As `crossover` does.
        """
        from ftsdk.cost.comparison.compare import crossover

        arguments: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        if training is not None:
            arguments["training"] = training
        answer = crossover(**arguments, book=book)
        if training is None or self.training is None:
            return answer
        own = self.training.likely if isinstance(self.training, CostRange) else self.training
        note = f"training: the file's own figure, {money(own, places=2)}, is replaced by the estimate"
        return answer.replace(notes=(*answer.notes, note))


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read a mapping.

    Raises:
        SpecError: The file can't be read, or isn't a mapping in YAML.
    """
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise SpecError(f"{path} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} isn't UTF-8: {error}") from error
    if not isinstance(data, dict):
        raise SpecError(f"{path} holds {type(cast('object', data)).__name__}, not a mapping of names to values")
    # Anchors may be kept under keys of their own: `x-mails: &mails {...}`.
    return {key: value for key, value in cast("dict[str, Any]", data).items() if not str(key).startswith("x-")}
