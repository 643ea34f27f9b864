"""Serving: endpoints, deployments and chat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from ftsdk.testing.together.answers import Answer, Clock, Refusal, answer_json
from ftsdk.testing.together.deployments import Deployment, Endpoint
from ftsdk.testing.together.offers import ModelOffer
from ftsdk.testing.together.registry import PROJECT, Registry
from ftsdk.testing.together.scenarios import Scenario

__all__ = ["Chat", "Inference"]

Chat = Callable[[str, Sequence[Mapping[str, Any]], int | None, float | None], str]
"""What answers: `(model, messages, max_tokens, temperature) -> text`."""

_DEPLOYMENT = {
    "name", "autoscaling", "config", "configId", "inactiveTimeout", "maxConcurrentRequestsPerReplica", "model",
    "modelId", "modelRevisionId",
    "placement",
}  # fmt: skip
_UPDATE = {"autoscaling", "etag", "inactiveTimeout", "maxConcurrentRequestsPerReplica", "name"}


class Inference:
    """All endpoints."""

    def __init__(self, clock: Clock, registry: Registry, offers: Mapping[str, ModelOffer]) -> None:
        self._clock = clock
        self._registry = registry
        self._offers = offers
        self._by_id: dict[str, Endpoint] = {}
        self._gone: list[Deployment] = []
        self._count = 0

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(tuple(self._by_id.values()))

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        """The deployments that exist now."""
        return tuple(deployment for endpoint in self for deployment in endpoint.deployments.values())

    @property
    def created(self) -> tuple[Deployment, ...]:
        """All deployments that were ever created, the deleted ones too: each may have billed."""
        return (*self._gone, *self.deployments)

    @property
    def cost_usd(self) -> float:
        """What all deployments have cost so far, in US dollars, the deleted ones too."""
        return sum(deployment.cost_usd for deployment in self.created)

    def pass_time(self, seconds: float) -> None:
        """Bill the deployments for the time that the clock has advanced."""
        for deployment in self.deployments:
            deployment.pass_time(seconds, self._clock.now)

    # Endpoints.

    def find(self, endpoint_id: str) -> Endpoint:
        """Find an endpoint.

        Raises:
            Refusal: 404, there is none.
        """
        if endpoint_id not in self._by_id:
            raise Refusal(404, f"no endpoint {endpoint_id!r}")
        return self._by_id[endpoint_id]

    def create(self, body: Mapping[str, Any]) -> Answer:
        """`POST /v2/projects/{project}/endpoints`."""
        _only(body, {"name", "visibility"})
        name = _bare(body.get("name"))
        if any(endpoint.name == f"{PROJECT['slug']}/{name}" for endpoint in self):
            raise Refusal(409, f"endpoint {name!r} exists already", param="name")
        self._count += 1
        now = self._clock.text()
        endpoint = Endpoint(
            id=f"ep_{self._count:06x}",
            name=f"{PROJECT['slug']}/{name}",
            project_id=PROJECT["id"],
            created_at=now,
            updated_at=now,
        )
        endpoint.visibility = body.get("visibility", endpoint.visibility)
        self._by_id[endpoint.id] = endpoint
        return answer_json(endpoint.to_wire())

    def retrieve(self, endpoint_id: str) -> Answer:
        """`GET /v2/projects/{project}/endpoints/{id}`."""
        endpoint = self.find(endpoint_id)
        for deployment in endpoint.deployments.values():
            deployment.look(self._clock.now)
        return answer_json(endpoint.to_wire())

    def listing(self) -> Answer:
        """`GET /v2/projects/{project}/endpoints`."""
        return answer_json({"object": "list", "data": [endpoint.to_wire() for endpoint in self]})

    def update(self, endpoint_id: str, body: Mapping[str, Any], query: Mapping[str, str]) -> Answer:
        """`PATCH /v2/projects/{project}/endpoints/{id}`.

        An empty split alone is "no fields to update", as an unset list can't be told from an empty one; with
        `updateMask=trafficSplit`, it empties the split.
        """
        endpoint = self.find(endpoint_id)
        _only(body, {"name", "trafficSplit", "visibility", "etag"})
        _check_etag(body, endpoint.to_wire()["etag"])
        masked = query.get("updateMask", "").split(",")
        if not any(body.get(name) for name in ("name", "trafficSplit", "visibility")) and "trafficSplit" not in masked:
            raise Refusal(400, "no fields to update")
        if body.get("trafficSplit") or "trafficSplit" in masked:
            split = cast("list[dict[str, Any]]", body.get("trafficSplit") or [])
            for entry in split:
                if entry.get("deploymentId") not in endpoint.deployments:
                    raise Refusal(
                        400,
                        f"no deployment {entry.get('deploymentId')!r} at endpoint {endpoint_id}",
                        param="trafficSplit",
                    )
                if not isinstance(entry.get("weight"), (int, float)) or entry["weight"] < 0:
                    raise Refusal(400, "a weight must be a number of at least 0", param="trafficSplit")
            endpoint.traffic_split = split
        endpoint.visibility = body.get("visibility", endpoint.visibility)
        if body.get("name"):
            endpoint.name = f"{PROJECT['slug']}/{_bare(body['name'])}"
        endpoint.version, endpoint.updated_at = endpoint.version + 1, self._clock.text()
        return answer_json(endpoint.to_wire())

    def delete(self, endpoint_id: str) -> Answer:
        """`DELETE /v2/projects/{project}/endpoints/{id}`: only without deployments."""
        endpoint = self.find(endpoint_id)
        if endpoint.deployments:
            raise Refusal(400, f"endpoint {endpoint_id} still has deployments: {', '.join(endpoint.deployments)}")
        del self._by_id[endpoint_id]
        return answer_json({})

    # Deployments.

    def find_deployment(self, endpoint_id: str, deployment_id: str) -> Deployment:
        """Find a deployment.

        Raises:
            Refusal: 404, there is none.
        """
        found = self.find(endpoint_id).deployments.get(deployment_id)
        if found is None:
            raise Refusal(404, f"no deployment {deployment_id!r} at endpoint {endpoint_id}")
        return found

    def deploy(self, endpoint_id: str, body: Mapping[str, Any], query: Mapping[str, str], scenario: Scenario) -> Answer:
        """`POST /v2/projects/{project}/endpoints/{id}/deployments`.

        With `validateOnly=true`, all checks are made and nothing else.

        An adapter is merged into its base for it.
        """
        endpoint = self.find(endpoint_id)
        is_trial = query.get("validateOnly") == "true" or bool(body.get("validateOnly"))
        _only(body, _DEPLOYMENT | {"validateOnly"})
        name = str(body.get("name", "")).rpartition("/")[2]
        if not name:
            raise Refusal(400, "name is required", param="name")
        model = self._registry.find(str(body.get("model") or body.get("modelId") or ""))
        if not model.offer.dedicated:
            raise Refusal(400, f"{model.offer.name} and what is tuned from it can't be deployed", param="model")
        config = str(body.get("config") or f"projects/{PROJECT['id']}/configs/{body.get('configId')}")
        hardware = self._registry.hardware_of(config, model)
        if not hardware.free:
            raise Refusal(400, f"no {hardware.name} is free")
        full_name = f"{endpoint.name}/{name}"
        if any(deployment.name == full_name for deployment in endpoint.deployments.values()):
            raise Refusal(409, f"deployment {name!r} exists already", param="name")
        self._count += 0 if is_trial else 1
        now = self._clock.text()
        deployment = Deployment(
            id="" if is_trial else f"dep_{self._count:06x}",
            name=full_name,
            endpoint_id=endpoint.id,
            project_id=PROJECT["id"],
            model=f"{model.resource}/revisions/{model.revision}",
            config=config,
            hardware=hardware,
            autoscaling=_autoscaling(body.get("autoscaling")),
            inactive_timeout=_timeout(body.get("inactiveTimeout", 0)),
            created_at=now,
            updated_at=now,
            scenario=scenario,
            last_used=self._clock.now,
        )
        if not is_trial:
            endpoint.deployments[deployment.id] = deployment
        return answer_json(deployment.to_wire())

    def retrieve_deployment(self, endpoint_id: str, deployment_id: str) -> Answer:
        """`GET .../deployments/{id}`."""
        deployment = self.find_deployment(endpoint_id, deployment_id)
        deployment.look(self._clock.now)
        return answer_json(deployment.to_wire())

    def list_deployments(self, endpoint_id: str) -> Answer:
        """`GET .../deployments`."""
        found = self.find(endpoint_id).deployments.values()
        for deployment in found:
            deployment.look(self._clock.now)
        return answer_json({"object": "list", "data": [deployment.to_wire() for deployment in found]})

    def update_deployment(self, endpoint_id: str, deployment_id: str, body: Mapping[str, Any]) -> Answer:
        """`PATCH .../deployments/{id}`: scale it, or stop it with bounds of 0 and 0."""
        deployment = self.find_deployment(endpoint_id, deployment_id)
        _only(body, _UPDATE)
        _check_etag(body, deployment.to_wire()["etag"])
        if not set(body) - {"etag"}:
            raise Refusal(400, "no fields to update")
        timeout = _timeout(body.get("inactiveTimeout", deployment.inactive_timeout))
        if "autoscaling" in body:
            deployment.scale(_autoscaling(body["autoscaling"]))
        deployment.inactive_timeout = timeout
        deployment.version, deployment.updated_at = deployment.version + 1, self._clock.text()
        return answer_json(deployment.to_wire())

    def delete_deployment(self, endpoint_id: str, deployment_id: str) -> Answer:
        """`DELETE .../deployments/{id}`: only when it has stopped and has no part of the traffic."""
        deployment = self.find_deployment(endpoint_id, deployment_id)
        endpoint = self.find(endpoint_id)
        if deployment.state not in ("STOPPED", "FAILED"):
            raise Refusal(400, f"deployment {deployment_id} is {deployment.state}; stop it first")
        if any(entry["deploymentId"] == deployment_id for entry in endpoint.traffic_split):
            raise Refusal(400, f"deployment {deployment_id} is part of the traffic split; take it out first")
        self._gone.append(endpoint.deployments.pop(deployment_id))
        return answer_json({})

    # Chat.

    def check_chat(self, body: Mapping[str, Any]) -> None:
        """Refuse a chat that nothing can answer; otherwise note that it is used.

        Raises:
            Refusal: 400 or 422, the request is wrong; 404, nothing serves this model.
        """
        model, messages = body.get("model"), body.get("messages")
        if not isinstance(model, str) or not isinstance(messages, list) or not messages:
            raise Refusal(422, "model and messages are required")
        if body.get("stream"):
            raise Refusal(400, "this service doesn't stream", param="stream")
        for endpoint in self:
            for deployment in endpoint.deployments.values():
                is_meant = deployment.name == model and deployment.is_up
                if is_meant or (endpoint.name == model and deployment in endpoint.serving()):
                    deployment.last_used = self._clock.now
                    return
        offer = self._offers.get(model)
        if offer is None or not offer.serverless:
            raise Refusal(404, f"unable to access model {model!r}: nothing that is ready serves it", param="model")


def chat_answer(body: Mapping[str, Any], text: str, *, number: int, created: float) -> Answer:
    """Return a text as the answer of a chat. A word is a token here."""
    words = text.split(" ")
    limit = body.get("max_tokens")
    kept = words[:limit] if isinstance(limit, int) else words
    asked = sum(
        len(str(message.get("content", "")).split()) for message in cast("list[dict[str, Any]]", body["messages"])
    )
    ended = "stop" if len(kept) == len(words) else "length"
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": " ".join(kept), "tool_calls": []},
        "finish_reason": ended,
    }
    return answer_json(
        {
            "id": f"chat-{number:06x}",
            "object": "chat.completion",
            "created": int(created),
            "model": body["model"],
            "prompt": [],
            "choices": [choice],
            "usage": {"prompt_tokens": asked, "completion_tokens": len(kept), "total_tokens": asked + len(kept)},
        }
    )


def _only(body: Mapping[str, Any], known: set[str]) -> None:
    for name in body:
        if name not in known:
            raise Refusal(400, f"unknown field {name!r}", param=name)


def _bare(name: object) -> str:
    """Take the project's slug off a name, which may have it."""
    text = str(name or "").removeprefix(f"{PROJECT['slug']}/")
    if not text or "/" in text:
        raise Refusal(400, f"{name!r} is no name for an endpoint", param="name")
    return text


def _autoscaling(value: object) -> dict[str, Any]:
    bounds = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    low, high = bounds.get("minReplicas", 0), bounds.get("maxReplicas", 0)
    if not bounds or not all(isinstance(bound, int) and bound >= 0 for bound in (low, high)) or low > high:
        raise Refusal(400, "autoscaling needs minReplicas and maxReplicas, 0 <= min <= max", param="autoscaling")
    return {**bounds, "minReplicas": low, "maxReplicas": high}


def _timeout(value: object) -> int:
    if not isinstance(value, int) or not (value == 0 or 30 <= value <= 1440):
        raise Refusal(400, f"inactiveTimeout must be 0, or 30 to 1440 minutes, got {value!r}", param="inactiveTimeout")
    return value


def _check_etag(body: Mapping[str, Any], etag: str) -> None:
    if body.get("etag", etag) != etag:
        raise Refusal(409, "it was changed in the meantime: the etag doesn't match", param="etag")
