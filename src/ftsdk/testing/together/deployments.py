"""Endpoints and their deployments, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ftsdk.testing.together.offers import Hardware
from ftsdk.testing.together.scenarios import Scenario

__all__ = ["Deployment", "Endpoint"]


@dataclass(kw_only=True)
class Deployment:
    """A model on machines of one kind."""

    id: str
    name: str
    """`<project slug>/<endpoint>/<deployment>`: as `model` of a chat request, it bypasses the traffic split."""
    endpoint_id: str
    project_id: str
    model: str
    """`projects/{project}/models/{model}/revisions/{revision}`."""
    config: str
    hardware: Hardware
    autoscaling: dict[str, Any]
    inactive_timeout: int
    """Minutes without a request after which it stops; 0: never."""
    created_at: str
    updated_at: str
    scenario: Scenario
    last_used: float
    """Seconds since the epoch."""
    state: str = "PROVISIONING"
    polls: int = 0
    version: int = 1
    ready_s: float = 0.0
    """Billed time: seconds times ready replicas."""

    @property
    def is_up(self) -> bool:
        """Whether it answers requests, and bills."""
        return self.state in ("READY", "DEGRADED")

    @property
    def cost_usd(self) -> float:
        """What it has cost so far, in US dollars: by the minute, for each replica that was ready."""
        return self.ready_s / 3600 * self.hardware.price_cents_per_hour / 100

    def look(self, now: float) -> None:
        """Advance it by one poll."""
        if self.state not in ("PROVISIONING", "STOPPING"):
            return
        self.polls += 1
        if self.polls <= self.scenario.provisioning_polls or (
            self.state == "PROVISIONING" and self.scenario.deployment == "never_ready"
        ):
            return
        after = "FAILED" if self.scenario.deployment == "fails" else self.scenario.deployment_state or "READY"
        self.state = "STOPPED" if self.state == "STOPPING" else after
        # Provisioning doesn't count as idle time.
        self.last_used = now

    def scale(self, autoscaling: dict[str, Any]) -> None:
        """Set the bounds: 0 and 0 stop it."""
        self.autoscaling = autoscaling
        is_wanted = autoscaling.get("maxReplicas", 0) > 0
        if not is_wanted and self.state not in ("STOPPED", "STOPPING"):
            self.state, self.polls = "STOPPING", 0
        elif is_wanted and self.state in ("STOPPED", "STOPPING"):
            self.state, self.polls = "PROVISIONING", 0

    def pass_time(self, seconds: float, now: float) -> None:
        """Advance the clock: a ready deployment is billed, and stops after enough time without requests."""
        if not self.is_up:
            return
        ends = self.last_used + 60 * self.inactive_timeout if self.inactive_timeout else now
        used = seconds - max(0.0, now - ends)
        self.ready_s += max(0.0, used) * self.replicas
        if now > ends:
            self.state = "STOPPED"

    @property
    def replicas(self) -> int:
        """The number of ready replicas."""
        return max(1, self.autoscaling.get("minReplicas", 0)) if self.is_up else 0

    def to_wire(self) -> dict[str, Any]:
        """Return it as the service lists it."""
        model, _, revision = self.model.partition("/revisions/")
        return {
            "id": self.id,
            "name": self.name,
            "projectId": self.project_id,
            "endpointId": self.endpoint_id,
            "model": self.model,
            "modelId": model.rpartition("/")[2],
            "modelRevisionId": revision,
            "config": self.config,
            "configId": self.config.rpartition("/")[2],
            "hardware": self.hardware.name,
            "autoscaling": self.autoscaling,
            "inactiveTimeout": self.inactive_timeout,
            "status": {
                "state": f"DEPLOYMENT_STATE_{self.state}",
                "message": self.state.lower(),
                "readyReplicas": self.replicas,
            },
            "trafficMode": "TRAFFIC_MODE_LIVE",
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "etag": f"{self.id}-{self.version}",
        }

    def to_summary(self, share: float) -> dict[str, Any]:
        """Return it as its endpoint lists it."""
        whole = self.to_wire()
        kept = {
            name: whole[name]
            for name in ("id", "name", "model", "modelId", "hardware", "autoscaling", "createdAt", "trafficMode")
        }
        return {
            **kept,
            "state": whole["status"]["state"],
            "readyReplicas": self.replicas,
            "estimatedEffectiveTrafficShare": share,
        }


@dataclass(kw_only=True)
class Endpoint:
    """A name for chat requests, and the deployments behind it."""

    id: str
    name: str
    """`<project slug>/<endpoint>`."""
    project_id: str
    created_at: str
    updated_at: str
    visibility: str = "VISIBILITY_PRIVATE"
    version: int = 1
    traffic_split: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    deployments: dict[str, Deployment] = field(default_factory=dict[str, Deployment])

    def share(self, deployment_id: str) -> float:
        """Return the share of the traffic that a deployment gets."""
        total = sum(entry["weight"] for entry in self.traffic_split)
        return (
            sum(entry["weight"] for entry in self.traffic_split if entry["deploymentId"] == deployment_id) / total
            if total
            else 0.0
        )

    def serving(self) -> Iterator[Deployment]:
        """Return the deployments that are ready and have a share of the traffic, the largest first."""
        for entry in sorted(self.traffic_split, key=lambda entry: -entry["weight"]):
            deployment = self.deployments.get(entry["deploymentId"])
            if deployment is not None and deployment.is_up and entry["weight"] > 0:
                yield deployment

    def to_wire(self) -> dict[str, Any]:
        """Return it as the service lists it."""
        return {
            "id": self.id,
            "name": self.name,
            "projectId": self.project_id,
            "endpointType": "ENDPOINT_TYPE_DEDICATED",
            "visibility": self.visibility,
            "trafficSplit": self.traffic_split,
            "deployments": [
                deployment.to_summary(self.share(deployment.id)) for deployment in self.deployments.values()
            ],
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "etag": f"{self.id}-{self.version}",
        }
