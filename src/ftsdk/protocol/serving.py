"""Serving, an optional ability of a backend: its offers, the plan made before anything starts, and the protocol.

A deployment is billed by the hour whether or not it gets requests. So nothing starts without a limit, and the plan
counts the worst case: the process that started it dies just before it would have stopped it, and the provider's own
idle stop comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import Field

from ftsdk._format import money
from ftsdk._numbers import exact_amount
from ftsdk._rich_text import rich_text
from ftsdk.errors import BudgetExceededError, SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol import RunRef
from ftsdk.spec import Value
from ftsdk.spec.amounts import check_amount
from ftsdk.spec.base import OptionalUsd, Usd, nearest

__all__ = [
    "TEMPLATE_FILE",
    "CanRentServers",
    "CanServe",
    "RentedServer",
    "ServingOffer",
    "ServingPlan",
    "ServingState",
    "ServingStatus",
    "plan_serving",
]

LEAST_HOURS = Decimal(1) / 12
"""Five minutes; a shorter deployment would be useless."""

ServingState = Literal["starting", "ready", "stopping", "stopped", "failed", "gone", "unknown"]
"""The state of a deployment. Only `gone` is final: nothing is left that could be billed.

`unknown`: a native state that ftsdk doesn't know.
"""


class ServingOffer(Value):
    """Hardware on which a tuned model can be served, and its price."""

    hardware: str
    """The backend's own name for it, such as `"1xnvidia-h100-80gb"`."""
    gpu_type: str
    gpu_count: Annotated[int, Field(ge=1)]
    gpu_memory_gib: int | None = None
    """Memory of each GPU, in GiB."""
    price_usd_per_hour: OptionalUsd
    """US dollars an hour while one replica is ready; None: no price is listed."""
    free: int | None = None
    """Replicas that are free now by the provider's own estimate; None: not known."""
    source: str
    """Where the price was read."""
    as_of: str
    """The day of the price, such as `"2026-11-24"`."""
    idle_stop_s_min: int
    """The shortest time without a request after which the provider can stop a deployment, in seconds."""
    idle_stop_s_max: int
    start_s: int = 0
    """The most that a start can take while it is billed, in seconds; 0: billing begins once it is ready."""
    native: dict[str, str] = Field(default_factory=dict[str, str])
    """What the backend needs to start it."""

    def __str__(self) -> str:
        price = (
            "no price listed"
            if self.price_usd_per_hour is None
            else f"{money(self.price_usd_per_hour, places=2)} an hour"
        )
        taken = ", none free now" if self.free == 0 else ""
        return f"{self.hardware} ({self.gpu_count} x {self.gpu_type}{taken}): {price} ({self.source}, {self.as_of})"

    __rich__ = rich_text


class ServingPlan(Value):
    """What will be started, and what it can cost at most."""

    offer: ServingOffer
    max_s: int
    """Seconds after it is ready at which our own process stops it."""
    idle_stop_s: int
    """Seconds without a request after which the provider stops it."""
    at_most_usd: Usd
    """Cost if our process dies just before `max_s` is over and the provider's idle stop comes last, in US dollars."""

    def __str__(self) -> str:
        return (
            f"{self.offer}; stopped when the block ends, and after {self.max_s / 3600:.3g} h at the latest; "
            f"{self.idle_stop_s // 60} min without a request stop it even if this process is dead; at most "
            f"{money(self.at_most_usd, places=2)}"
        )

    __rich__ = rich_text


@dataclass(frozen=True, kw_only=True)
class ServingStatus:
    """The state of a deployment now."""

    state: ServingState
    native: str = ""
    """The backend's own word for the state."""
    reason: str = ""
    endpoint: Endpoint | None = None
    """Its endpoint, once it is ready."""


@runtime_checkable
class CanServe(Protocol):
    """A backend that can put a finished run's model behind an endpoint.

    The deployment's name is chosen by us, unique, and on disk before the first request; the backend's own ids
    follow through `note`, each before the next request. So any process that reads the record can stop all of it.
    """

    def serving_offers(self, ref: RunRef) -> Sequence[ServingOffer]:
        """List the hardware that can serve the run's model; empty if the model can't be deployed. Starts nothing.

        Raises:
            BackendError: The provider doesn't answer.
        """
        ...

    def start_serving(
        self, ref: RunRef, plan: ServingPlan, *, name: str, note: Callable[[Mapping[str, str]], None]
    ) -> None:
        """Request the deployment. A lost answer is looked up, not requested again.

        Args:
            ref: The run.
            plan: As `plan_serving` decided it.
            name: Letters, digits and dashes; nothing else has this name.
            note: Records the backend's own ids; they are on disk when `note` returns.

        Raises:
            BackendError: The provider refused, or didn't answer. Parts may exist: call `stop_serving`.
        """
        ...

    def poll_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Return the state, after doing what is due, such as opening a ready deployment for requests."""
        ...

    def stop_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Stop whatever still exists under the name, and return the state. It is over when that is `gone`.

        Never blocks for long.
        """
        ...


class RentedServer(Value):
    """A server that a backend is to run in a container with a GPU."""

    command: tuple[str, ...]
    """Its command line, with paths as the container sees them."""
    port: int
    models: tuple[str, ...]
    """The names that requests may have as their model."""
    memory_gib: float
    """GPU memory that it needs at least."""
    gpu: str | None = None
    """The GPU, as the backend names it; None: any with enough memory."""
    api_key_env: str
    """Environment variable, here, with the key that clients must send."""
    min_containers: int = 0
    chat_template: str | None = None
    """The text of a chat template, which the container writes to `TEMPLATE_FILE`."""


TEMPLATE_FILE = "/tmp/chat_template.jinja"
"""In a container."""


@runtime_checkable
class CanRentServers(CanServe, Protocol):
    """A backend that runs a server of ours beside the adapters of its runs."""

    def adapter_folder(self, ref: RunRef) -> str:
        """Return the folder of a run's adapter as a server there sees it."""
        ...

    def server_offers(self, server: RentedServer) -> Sequence[ServingOffer]:
        """List the hardware that can run a server; `start_serving` takes the offers as it takes others.

        Raises:
            UnsupportedSpecError: There is no such GPU.
        """
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
        hardware: Name of one of the offers; None takes the cheapest that is free.
        budget_usd: US dollars that it may cost at most, also if a process dies.
        max_hours: Stop after so many hours.
        idle_stop_s: Seconds without a request after which the provider stops it; None takes the shortest that it
            allows.

    Raises:
        SpecError: No limit, no such hardware, or an idle time that isn't offered.
        BudgetExceededError: The budget doesn't pay for five minutes and the idle time, or no price is known.
    """
    if budget_usd is None and max_hours is None:
        raise SpecError(
            "a deployment bills until it is stopped, so it needs a limit: budget_usd=5, max_hours=1, or both"
        )
    for word, limit in (("budget_usd", budget_usd), ("max_hours", max_hours)):
        if limit is not None:
            check_amount(word, limit, above=0, at_most=1_000_000)
    if idle_stop_s is not None:
        check_amount("idle_stop_s", idle_stop_s, at_least=0, is_whole=True)
    offer = _choose(offers, hardware)
    price = offer.price_usd_per_hour
    if price is None:
        raise BudgetExceededError(
            f"nothing was started: {offer.source} has no price for {offer.hardware}, so no budget can be kept; choose "
            "other hardware="
        )
    idle_s = offer.idle_stop_s_min if idle_stop_s is None else idle_stop_s
    if not offer.idle_stop_s_min <= idle_s <= offer.idle_stop_s_max or idle_s % 60:
        raise SpecError(
            f"idle_stop_s must be whole minutes, from {offer.idle_stop_s_min} to {offer.idle_stop_s_max} seconds; got "
            f"{idle_s}"
        )
    # Beside the time of use: what is billed before it, and after it.
    idle_hours = Decimal(idle_s + offer.start_s) / 3600
    limits = [] if max_hours is None else [exact_amount(max_hours)]
    if budget_usd is not None:
        budget = exact_amount(budget_usd)
        affordable = budget / price - idle_hours if price else Decimal(24)
        if affordable < LEAST_HOURS:
            needed = (price * (idle_hours + LEAST_HOURS)).quantize(Decimal("0.01"), ROUND_CEILING)
            raise BudgetExceededError(
                f"nothing was started: {offer.hardware} costs {money(price, places=2)} an hour, and the provider's "
                f"idle stop comes {idle_s // 60} min after the last request{_billed_start(offer)}, so five minutes "
                f"of use can cost ${needed}; the budget is ${budget}. Raise budget_usd, or choose cheaper hardware"
            )
        limits.append(affordable)
    # Rounded down to a second, so that rounding can't go over the budget.
    max_s = int(min(limits) * 3600)
    at_most = (price * (Decimal(max_s) / 3600 + idle_hours)).quantize(Decimal("0.01"), ROUND_CEILING)
    if budget_usd is not None:
        at_most = min(at_most, exact_amount(budget_usd))
    return ServingPlan(offer=offer, max_s=max_s, idle_stop_s=idle_s, at_most_usd=at_most)


def _billed_start(offer: ServingOffer) -> str:
    return f", and a start is billed for up to {offer.start_s // 60} min" if offer.start_s else ""


def _choose(offers: Sequence[ServingOffer], hardware: str | None) -> ServingOffer:
    if hardware is None:
        # Without a price last: it is refused only if there is nothing else.
        return min(
            offers, key=lambda offer: (offer.price_usd_per_hour is None, offer.free == 0, offer.price_usd_per_hour or 0)
        )
    for offer in offers:
        if offer.hardware == hardware:
            return offer
    raise SpecError(
        f"no offer of hardware {hardware!r} for this model{nearest(hardware, {offer.hardware for offer in offers})}"
    )
