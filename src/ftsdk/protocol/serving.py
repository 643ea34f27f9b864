"""Serving, an optional ability of a backend: what it offers, what is decided before anything starts, and how it is asked.

A deployment bills by the hour whether or not anybody asks it anything. So nothing starts without a limit, and the decision counts
the worst case: the process that started it dies just before it would have stopped it, and the place's own stop comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import Field

from ftsdk.errors import BudgetExceededError, SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol import RunRef
from ftsdk.spec import Value
from ftsdk.spec.base import Usd, nearest

__all__ = ["CanServe", "ServingOffer", "ServingPlan", "ServingState", "ServingStatus", "plan_serving"]

LEAST_HOURS = Decimal(1) / 12
"""Five minutes: nothing is measured in less."""

ServingState = Literal["starting", "ready", "stopping", "stopped", "failed", "gone", "unknown"]
"""Where a deployment is. Only `gone` is the end: there is nothing left that could bill. `unknown` is a word nobody has heard of yet."""


class ServingOffer(Value):
    """Hardware on which a tuned model can be served, and its price."""

    hardware: str
    """The backend's own word for it, such as `"1xnvidia-h100-80gb"`."""
    gpu_type: str
    gpu_count: Annotated[int, Field(ge=1)]
    gpu_memory_gib: int | None = None
    """Memory of each GPU, in GiB."""
    price_usd_per_hour: Usd | None
    """US dollars an hour while one replica is ready; None: no price is listed."""
    free: int | None = None
    """How many more replicas fit now, as the place guesses; None: it doesn't say."""
    source: str
    """Whose price."""
    as_of: str
    """Of which day, such as `"2026-11-24"`."""
    idle_stop_s_min: int
    """The shortest time without a request after which the place stops a deployment by itself, in seconds."""
    idle_stop_s_max: int
    native: dict[str, str] = Field(default_factory=dict[str, str])
    """What the backend needs to start it."""

    def __str__(self) -> str:
        price = "no price listed" if self.price_usd_per_hour is None else f"${self.price_usd_per_hour:.2f} an hour"
        taken = ", none free now" if self.free == 0 else ""
        return f"{self.hardware} ({self.gpu_count} x {self.gpu_type}{taken}): {price} ({self.source}, {self.as_of})"


class ServingPlan(Value):
    """What will be started, and what it can cost at most."""

    offer: ServingOffer
    max_s: int
    """After so many seconds since it was ready, our own process stops it."""
    idle_stop_s: int
    """After so many seconds without a request, the place stops it."""
    at_most_usd: Usd
    """Cost if our process dies just before `max_s` is over and the place's own stop comes last, in US dollars."""

    def __str__(self) -> str:
        return (
            f"{self.offer}; stopped when the block ends, and after {self.max_s / 3600:.3g} h at the latest; "
            f"{self.idle_stop_s // 60} min without a request stop it even if this process is dead; at most ${self.at_most_usd:.2f}"
        )


@dataclass(frozen=True, kw_only=True)
class ServingStatus:
    """Where a deployment is now."""

    state: ServingState
    native: str = ""
    """The backend's own word for it."""
    reason: str = ""
    endpoint: Endpoint | None = None
    """Where it answers, once it is ready."""


@runtime_checkable
class CanServe(Protocol):
    """A backend that can put a finished run's model behind an endpoint.

    The deployment's name is chosen by us, unique, and on disk before the first request; what the backend calls things follows
    through `note`, each time before the next request. So whoever reads the record can stop all of it.
    """

    def serving_offers(self, ref: RunRef) -> Sequence[ServingOffer]:
        """List the hardware that can serve the run's model; empty if the model can't be deployed. Starts nothing.

        Raises:
            BackendError: The place doesn't answer.
        """
        ...

    def start_serving(self, ref: RunRef, plan: ServingPlan, *, name: str, note: Callable[[Mapping[str, str]], None]) -> None:
        """Ask for the deployment. A lost answer is looked up, not asked for again.

        Args:
            ref: The run.
            plan: As `plan_serving` decided it.
            name: Letters, digits and dashes; nothing else has this name.
            note: Takes what the backend calls things; it is on disk when `note` returns.

        Raises:
            BackendError: The place said no, or nothing. Some of it may exist: `stop_serving`.
        """
        ...

    def poll_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Look once, and do what is due, such as opening a ready deployment for requests."""
        ...

    def stop_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Stop once more whatever is there under the name, and look. It is over when the state is `gone`. Never blocks for long."""
        ...


def plan_serving(
    offers: Sequence[ServingOffer],
    *,
    hardware: str | None = None,
    budget_usd: Decimal | float | None = None,
    max_hours: Decimal | float | None = None,
    idle_stop_s: int | None = None,
) -> ServingPlan:
    """Choose the hardware, and how long it may run. Pure.

    Args:
        offers: As the backend listed them, at least one.
        hardware: One of the offers' words; None takes the cheapest that is free.
        budget_usd: Never spend more, in US dollars, whatever dies when.
        max_hours: Stop after so many hours.
        idle_stop_s: Seconds without a request after which the place stops it; None takes the shortest that it allows.

    Raises:
        SpecError: No limit, no such hardware, or an idle time that isn't offered.
        BudgetExceededError: The budget doesn't pay for five minutes and the idle time, or nobody knows the price.
    """
    if budget_usd is None and max_hours is None:
        raise SpecError("a deployment bills until it is stopped, so it needs a limit: budget_usd=5, max_hours=1, or both")
    for word, limit in (("budget_usd", budget_usd), ("max_hours", max_hours)):
        if limit is not None and not limit > 0:
            raise SpecError(f"{word} must be above 0; got {limit}")
    offer = _choose(offers, hardware)
    price = offer.price_usd_per_hour
    if price is None:
        raise BudgetExceededError(
            f"nothing was started: {offer.source} has no price for {offer.hardware}, so no budget can be kept; name other hardware"
        )
    idle_s = offer.idle_stop_s_min if idle_stop_s is None else idle_stop_s
    if not offer.idle_stop_s_min <= idle_s <= offer.idle_stop_s_max or idle_s % 60:
        raise SpecError(f"idle_stop_s must be whole minutes, from {offer.idle_stop_s_min} to {offer.idle_stop_s_max} seconds; got {idle_s}")
    idle_hours = Decimal(idle_s) / 3600
    limits = [] if max_hours is None else [Decimal(str(max_hours))]
    if budget_usd is not None:
        budget = Decimal(str(budget_usd))
        affordable = budget / price - idle_hours if price else Decimal(24)
        if affordable < LEAST_HOURS:
            needed = (price * (idle_hours + LEAST_HOURS)).quantize(Decimal("0.01"), ROUND_CEILING)
            raise BudgetExceededError(
                f"nothing was started: {offer.hardware} costs ${price:.2f} an hour, and the place's own stop comes {idle_s // 60} min after the last "
                f"request, so five minutes of use can cost ${needed}; the budget is ${budget}. Raise budget_usd, or choose cheaper hardware"
            )
        limits.append(affordable)
    # Rounded down to a second, so that rounding can't go over the budget.
    max_s = int(min(limits) * 3600)
    at_most = (price * (Decimal(max_s) / 3600 + idle_hours)).quantize(Decimal("0.01"), ROUND_CEILING)
    if budget_usd is not None:
        at_most = min(at_most, Decimal(str(budget_usd)))
    return ServingPlan(offer=offer, max_s=max_s, idle_stop_s=idle_s, at_most_usd=at_most)


def _choose(offers: Sequence[ServingOffer], hardware: str | None) -> ServingOffer:
    if hardware is None:
        # Without a price last: it is refused only if there is nothing else.
        return min(offers, key=lambda offer: (offer.price_usd_per_hour is None, offer.free == 0, offer.price_usd_per_hour or 0))
    for offer in offers:
        if offer.hardware == hardware:
            return offer
    raise SpecError(f"no offer of hardware {hardware!r} for this model{nearest(hardware, {offer.hardware for offer in offers})}")
