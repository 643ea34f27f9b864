"""What Together says about deployments, read purely.

Offers from configs and hardware, states, and names of resources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from ftsdk.protocol.serving import ServingOffer, ServingState

__all__ = ["Config", "DeploymentFacts", "EndpointFacts", "Instance", "TunedModel", "offers_from", "state_of"]

IDLE_STOP_S = (30 * 60, 1440 * 60)
"""`inactive_timeout` takes 30 to 1440 minutes (`endpoints.deployments.create` in together 3.1.1, read 2026-11-24)."""

_STATES: Mapping[str, ServingState] = {
    "DEPLOYMENT_STATE_PROVISIONING": "starting",
    "DEPLOYMENT_STATE_READY": "ready",
    "DEPLOYMENT_STATE_DEGRADED": "ready",
    "DEPLOYMENT_STATE_FAILED": "failed",
    "DEPLOYMENT_STATE_STOPPED": "stopped",
    "DEPLOYMENT_STATE_STOPPING": "stopping",
}


class TunedModel(NamedTuple):
    """A run's model in the registry of a project."""

    project: str
    id: str
    """`ml_...`."""
    revision: str | None = None
    """`rv_...`; None is the latest."""

    @property
    def path(self) -> str:
        """The name of the resource without its revision, by which configs are listed."""
        return f"projects/{self.project}/models/{self.id}"

    @property
    def pinned(self) -> str:
        """The name of the resource with its revision, which is what is deployed."""
        return self.path if self.revision is None else f"{self.path}/revisions/{self.revision}"


class Config(NamedTuple):
    """A configuration that a model can be served with."""

    path: str
    selectors: Mapping[str, str]


class Instance(NamedTuple):
    """A type of hardware, as the service lists it."""

    id: str
    name: str
    gpu_type: str
    gpu_count: int
    gpu_memory_gib: int | None
    price_cents_per_hour: int | None
    free: int | None = None
    """How many more replicas fit in all regions; None: no region says."""


class DeploymentFacts(NamedTuple):
    """A deployment, as the service describes it."""

    id: str
    name: str
    """`<project>/<endpoint>/<deployment>`."""
    state: str
    message: str
    ready_replicas: int
    is_scaled_to_zero: bool
    model: str
    config: str


class EndpointFacts(NamedTuple):
    """An endpoint, as the service describes it."""

    id: str
    name: str
    """`<project>/<endpoint>`: what a request calls the model."""
    traffic: Mapping[str, float]
    """The weight of each deployment, by id."""


def state_of(deployment: DeploymentFacts) -> ServingState:
    """Return our state for the service's word; an unknown word is `unknown`."""
    if deployment.state == "DEPLOYMENT_STATE_SCALING":
        return "ready" if deployment.ready_replicas > 0 else "starting"
    return _STATES.get(deployment.state, "unknown")


def offers_from(configs: Sequence[Config], instances: Sequence[Instance], *, as_of: str) -> list[ServingOffer]:
    """Join the configs that fit a model with the hardware they ask for; the first config for a type of hardware counts.

    Args:
        configs: In the service's order. One whose hardware isn't listed is left out: nobody knows its price.
        instances: The service's list of hardware.
        as_of: The day of that list.
    """
    by_name = {
        word: instance for instance in reversed(instances) for word in (_plain(instance.id), _plain(instance.name))
    }
    offers: dict[str, ServingOffer] = {}
    for config in configs:
        wanted = f"{config.selectors.get('accelerator_count', '')}x{config.selectors.get('accelerator_type', '')}"
        instance = by_name.get(_plain(wanted))
        if instance is None or instance.name in offers:
            continue
        offers[instance.name] = ServingOffer(
            hardware=instance.name,
            gpu_type=instance.gpu_type,
            gpu_count=instance.gpu_count,
            gpu_memory_gib=instance.gpu_memory_gib,
            # Hardware that is sold by a person is listed without a price, or with 0.
            price_usd_per_hour=Decimal(instance.price_cents_per_hour) / 100 if instance.price_cents_per_hour else None,
            free=instance.free,
            source="Together's list of inference hardware",
            as_of=as_of,
            idle_stop_s_min=IDLE_STOP_S[0],
            idle_stop_s_max=IDLE_STOP_S[1],
            native={"config": config.path},
        )
    return list(offers.values())


def _plain(hardware: str) -> str:
    # The service writes `1xnvidia-h100-80gb` here and `1xh100-80gb` there.
    return hardware.lower().replace("nvidia-", "")
