"""The answer of a crossover: values that can be printed, drawn, and read by a script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BeforeValidator

from ftsdk._rich_text import rich_text
from ftsdk.cost.comparison.monte_carlo import Distribution, Swing
from ftsdk.cost.comparison.workload import Api, Operations, Quality, SelfHosted, Workload
from ftsdk.cost.serving.capacity import Capacity
from ftsdk.spec import Value
from ftsdk.spec.base import Usd

__all__ = ["CostLine", "CrossingPoint", "CrossoverAnswer", "Curve", "Likelihood", "OptionCost", "Solved"]


class CostLine(Value):
    """One line of a month's bill."""

    label: str
    usd: Usd
    detail: str
    source: str
    """Address of the price; `assumed` for a judgement."""
    as_of: str | None = None


class OptionCost(Value):
    """What one option costs in a month at the expected volume."""

    name: str
    """`api`, `self-hosted`, `dedicated`, `serverless`, or the model of a further API."""
    label: str
    usd_per_month: Usd
    usd_per_1k_accepted: Usd
    """For a thousand answers that are good enough."""
    lines: tuple[CostLine, ...]
    capacity: Capacity | None = None
    note: str = ""


class CrossingPoint(Value):
    """A volume at which an option and the API cost the same."""

    option: str
    """The option that is compared with the API."""
    requests_per_month: float
    cheaper_above: str
    """The option that is cheaper just above this volume."""
    usd_per_month: Usd
    """What the API costs there."""


class Curve(Value):
    """One option's monthly cost over volume, for drawing."""

    option: str
    requests_per_month: tuple[float, ...]
    usd_per_month: tuple[float, ...]


class Solved(Value):
    """The values of one input at which self-hosting costs as much as the API."""

    input: str
    values: tuple[float, ...]
    """All that were found in the range, smallest first; empty if one option is cheaper throughout."""
    unit: str
    searched: tuple[float, float]
    cheaper_at_low: str
    """The cheaper option at the lower end of the range."""


def _triples(given: object) -> object:
    """Read lists as JSON writes them: the base does so for fields, not for the values of a dict."""
    if not isinstance(given, dict):
        return given
    return {
        name: tuple(cast("list[object]", one)) if isinstance(one, list) else one
        for name, one in cast("dict[str, object]", given).items()
    }


class Likelihood(Value):
    """The results of many scenarios."""

    scenarios: int
    seed: int
    p_self_hosted_cheaper: float
    """Share of the scenarios in which self-hosting costs less than the API."""
    p_cheapest: dict[str, float]
    """For each option, the share of the scenarios in which it is the cheapest of all."""
    saving_usd_per_month: tuple[float, float, float]
    """Of self-hosting over the API: 10th, 50th and 90th percentile."""
    usd_per_month: Annotated[dict[str, tuple[float, float, float]], BeforeValidator(_triples)]
    """For each option: 10th, 50th and 90th percentile."""


class CrossoverAnswer(Value):
    """API or a model of your own.

    Every cost line with its source, the break-even volumes, the probability and the assumptions.
    """

    workload: Workload
    """With the volume that was solved for, if it was."""
    api: Api
    self_hosted: SelfHosted
    operations: Operations
    quality: Quality
    retrains_per_year: float
    options: tuple[OptionCost, ...]
    crossings: tuple[CrossingPoint, ...]
    """Of each option with the API, by volume. Empty: one is cheaper over the whole range."""
    searched_requests: tuple[float, float]
    saving_usd_per_month: Usd
    """Saving of self-hosting over the API at the expected volume, with the setup spread over its months.

    Negative if the API is cheaper.
    """
    upfront_usd: Usd
    """Setup and the first training."""
    payback_months: float | None = None
    """Months until the savings have paid for the setup; None if not within ten years."""
    npv_12_months_usd: Usd
    """Net present value of self-hosting, the setup included; nothing is left at the end."""
    npv_36_months_usd: Usd
    discount_per_year: float
    likelihood: Likelihood
    swings: tuple[Swing, ...]
    """The tornado: how much each number moves the saving, the widest first; those that move nothing are left out."""
    distributions: tuple[Distribution, ...]
    assumptions: tuple[str, ...]
    """The defaults that were used, by name."""
    notes: tuple[str, ...]
    solved: Solved | None = None
    curves: tuple[Curve, ...] = ()

    def option(self, name: str) -> OptionCost:
        """Return one option by its name.

        Raises:
            KeyError: It isn't in this answer.
        """
        for found in self.options:
            if found.name == name:
                return found
        raise KeyError(f"no option {name!r}; there are {', '.join(one.name for one in self.options)}")

    @property
    def break_even_requests(self) -> tuple[float, ...]:
        """Volumes at which self-hosting and the API cost the same, smallest first."""
        return tuple(point.requests_per_month for point in self.crossings if point.option == "self-hosted")

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain data, defaults included. `from_dict` reads it back, equal."""
        return self.model_dump(mode="json", exclude_none=True)

    def __str__(self) -> str:
        from ftsdk.cost.comparison.answer_text import answer_text

        return answer_text(self)

    __rich__ = rich_text

    def details(self) -> str:
        """Return everything as text: each cost line with its source, the distributions and the assumptions."""
        from ftsdk.cost.comparison.answer_text import answer_details

        return answer_details(self)

    def to_html(self) -> str:
        """Return the answer as an HTML fragment."""
        from ftsdk.cost.comparison.answer_text import answer_html

        return answer_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()

    def plot(self, path: str | Path) -> Path:
        """Draw cost over volume, with the crossings, and the tornado.

        In the format of the file's ending (.svg, .png, .pdf).

        Raises:
            MissingExtraError: matplotlib isn't installed.
            SpecError: The ending isn't one of a picture, or the file can't be written.
        """
        from ftsdk.cost.comparison.figure import draw

        return draw(self, Path(path))
