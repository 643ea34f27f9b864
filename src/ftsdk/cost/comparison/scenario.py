"""The inputs of a crossover with prices and capacities filled in.

The price book and the serving model are read here, and nowhere after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ftsdk.cost.comparison.api_option import api_option
from ftsdk.cost.comparison.inputs import Inputs
from ftsdk.cost.comparison.options import AlwaysOn, Draw, Option, PerToken, SharedCosts
from ftsdk.cost.comparison.own_options import dedicated_option, self_hosted_option, serverless_option
from ftsdk.cost.comparison.sourced_price import gpu_hour
from ftsdk.cost.serving.capacity import Capacity

__all__ = ["Scenario", "build_scenario"]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The options with their prices, and the expected value of each uncertain number."""

    inputs: Inputs
    api: PerToken
    own: AlwaysOn
    """Your own model on rented GPUs."""
    others: tuple[Option, ...]
    shared: SharedCosts
    expected: Draw
    notes: tuple[str, ...]

    @property
    def options(self) -> tuple[Option, ...]:
        """The API first, self-hosting second."""
        return (self.api, self.own, *self.others)

    def at(self, requests: Any) -> Draw:
        """Return the expected numbers at another monthly volume, or at an array of volumes."""
        return replace(self.expected, requests=requests)

    def capacity(self, option: Option) -> Capacity | None:
        """Return what one replica of an option can take at the expected volume; None for an API."""
        return None if isinstance(option, PerToken) else option.cheapest(self.expected, self.shared).capacity


def build_scenario(inputs: Inputs) -> Scenario:
    """Look up every price and compute every capacity.

    Raises:
        SpecError: A price isn't known, or the model doesn't fit on a GPU that was named.
    """
    workload, book, own = inputs.workload, inputs.book, inputs.self_hosted
    api, notes = api_option("api", inputs.api, workload, book)
    price = gpu_hour(own.gpu_usd_per_hour, own.gpu, own.provider, book)
    hosted, own_notes = self_hosted_option(inputs, price, api)
    notes += own_notes
    others: list[Option] = []
    if inputs.dedicated is not None:
        dedicated, more = dedicated_option(inputs, inputs.dedicated, api)
        others.append(dedicated)
        notes += more
    if inputs.serverless is not None:
        serverless, more = serverless_option(inputs, inputs.serverless, api)
        others += [] if serverless is None else [serverless]
        notes += more
    for other in inputs.other_apis:
        option, more = api_option(other.model, other, workload, book)
        others.append(option)
        notes += more
        if other.accepted is None and inputs.quality.api_accepted < 1:
            notes += (
                f"{other.model} is assumed to be accepted as often as {inputs.api.model}; measure it and set "
                "Api(accepted=...)",
            )
    scenario = Scenario(
        inputs=inputs,
        api=api,
        own=hosted,
        others=tuple(others),
        shared=SharedCosts(
            quality=inputs.quality,
            operations=inputs.operations,
            retrains_per_year=inputs.retrains_per_year,
            training_source=inputs.training.source,
        ),
        expected=Draw(
            requests=workload.requests_per_month or 1.0,
            peak_to_mean=workload.peak_to_mean,
            training_usd=float(inputs.training.likely),
            api_accepted=inputs.quality.api_accepted,
            own_accepted=inputs.quality.own_accepted,
        ),
        notes=(),
    )
    return replace(scenario, notes=tuple(dict.fromkeys((*notes, *_late_notes(scenario)))))


def _late_notes(scenario: Scenario) -> tuple[str, ...]:
    found = [capacity for option in scenario.options if (capacity := scenario.capacity(option)) is not None]
    return tuple(
        f"{one.gpu} doesn't meet the {one.latency!r} target of {one.target_s:.1f} s even with one request at a time "
        f"({one.service_s:.1f} s): use a faster GPU, a smaller model, or latency='offline'"
        for one in found
        if not one.is_target_met
    )
