"""The wire to Together's dedicated inference (v2): one call, one method, no decisions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ftsdk.backends.together.serving_offers import Config, DeploymentFacts, EndpointFacts, Instance, TunedModel
from ftsdk.errors import BackendError, CredentialsError

if TYPE_CHECKING:
    from together import Together as Client

__all__ = ["Guard", "ServingClient", "guard_of"]

Guard = Callable[[str], AbstractContextManager[None]]
"""Turns the client's errors into ours, inside a block that does what the text says."""


class ServingClient:
    """Together's client, as far as serving needs it.

    Args:
        client: Together's own, ready to be used.
        guard: Turns its errors into ours; None takes `guard_of(client)`.
    """

    def __init__(self, client: Client, *, guard: Guard | None = None) -> None:
        self._client = client
        # A create that the client sends again by itself could become two deployments; a delete that is refused is our loop's to repeat.
        self._once = client.with_options(max_retries=0)
        self._guard = guard or guard_of(client)
        self._project: str | None = client.project_id

    @property
    def chat_url(self) -> str:
        """Where chat completions are asked for; the client keeps this address to itself, so it is repeated here."""
        base = str(self._client.base_url).rstrip("/").removesuffix("/v1")
        return "https://api-inference.together.ai/v1" if base in ("https://api.together.ai", "https://api.together.xyz") else f"{base}/v1"

    def project(self) -> str:
        """Give the project that the client was made for, or that the key belongs to.

        Raises:
            BackendError: The key belongs to no one project.
        """
        if self._project is None:
            with self._guard("asking which project the key belongs to"):
                self._project = getattr(getattr(self._client.whoami(), "project", None), "id", None)
        if self._project is None:
            raise BackendError("serving needs a project and the key belongs to none; name it: Together(project_id='...'), or TOGETHER_PROJECT_ID")
        return self._project

    def tuned_model(self, job: str) -> TunedModel | None:
        """Find what a fine-tuning job made: the whole model, or the adapter, which the service merges when it is deployed."""
        project = self.project()
        with self._guard(f"looking up the model of job {job}"):
            found = self._client.fine_tuning.retrieve(job)
        for kind in ("model", "adapter"):
            model, revision = _field(found, f"{kind}_object_id"), _field(found, f"{kind}_object_revision_id")
            if model:
                return TunedModel(project, model, revision or None)
        return None

    def configs(self, model: TunedModel) -> list[Config]:
        """List the configs that the model can be served with; a model without any of its own has those of its base."""
        with self._guard("listing what the model can be served with"):
            found = list(self._client.models.configs.list(project_id=model.project, reference_model=model.path))
            if not found and (base := self._client.models.retrieve(model.id, project_id=model.project).base_model):
                found = list(self._client.models.configs.list(project_id=model.project, reference_model=base))
        return [
            Config(f"projects/{config.project_id}/configs/{config.id}", {selector.key: selector.value for selector in config.selectors or []})
            for config in found
        ]

    def hardware(self) -> list[Instance]:
        """List hardware and prices."""
        with self._guard("listing hardware and prices"):
            found = self._client.endpoints.hardware.list().data
        return [Instance(one.id, one.name, one.gpu_type, one.gpu_count, one.gpu_memory_gib, one.price_cents_per_hour) for one in found]

    def create_endpoint(self, name: str) -> EndpointFacts:
        """Make an endpoint, which costs nothing."""
        with self._guard(f"creating endpoint {name}"):
            return _endpoint(self._once.endpoints.create(project_id=self.project(), name=name))

    def find_endpoint(self, name: str) -> EndpointFacts | None:
        """Look for an endpoint by its name in the whole list."""
        with self._guard(f"looking for endpoint {name}"):
            for found in self._client.endpoints.list(project_id=self.project()):
                if found.name.rpartition("/")[2] == name:
                    return _endpoint(found)
        return None

    def endpoint(self, id_: str) -> EndpointFacts | None:
        """Give the endpoint, or None if there is none."""
        with self._guard(f"asking about endpoint {id_}"), _none_if_missing():
            return _endpoint(self._client.endpoints.retrieve(id_, project_id=self.project()))
        return None

    def route(self, endpoint: str, weights: dict[str, float]) -> None:
        """Set which deployments of an endpoint get its requests."""
        split: list[Any] = [{"deployment_id": deployment, "weight": weight} for deployment, weight in weights.items()]
        with self._guard(f"routing requests of endpoint {endpoint}"):
            # The mask says that the split is meant, also when it is empty.
            self._once.endpoints.update(endpoint, project_id=self.project(), traffic_split=split, update_mask="trafficSplit")

    def delete_endpoint(self, id_: str) -> None:
        """Delete an endpoint without deployments; one that is gone already is fine."""
        with self._guard(f"deleting endpoint {id_}"), _none_if_missing():
            self._once.endpoints.delete(id_, project_id=self.project())

    def create_deployment(self, endpoint: str, *, name: str, model: str, config: str, idle_stop_min: int) -> DeploymentFacts:
        """Start a deployment of one replica. This is the request that costs money, and it is sent once."""
        with self._guard(f"creating deployment {name}"):
            return _deployment(
                self._once.endpoints.deployments.create(
                    endpoint,
                    project_id=self.project(),
                    name=name,
                    model=model,
                    config=config,
                    autoscaling={"min_replicas": 1, "max_replicas": 1},
                    inactive_timeout=idle_stop_min,
                )
            )

    def deployments(self, endpoint: str) -> list[DeploymentFacts]:
        """List the deployments of an endpoint."""
        with self._guard(f"listing the deployments of endpoint {endpoint}"), _none_if_missing():
            return [_deployment(found) for found in self._client.endpoints.deployments.list(endpoint, project_id=self.project())]
        return []

    def scale_to_zero(self, endpoint: str, deployment: str) -> None:
        """Stop a deployment: this ends what it bills."""
        with self._guard(f"stopping deployment {deployment}"), _none_if_missing():
            self._client.endpoints.deployments.update(
                deployment,
                endpoint_id=endpoint,
                project_id=self.project(),
                autoscaling={"min_replicas": 0, "max_replicas": 0},
                update_mask="autoscaling",
            )

    def delete_deployment(self, endpoint: str, deployment: str) -> None:
        """Delete a deployment; one that is gone already is fine."""
        with self._guard(f"deleting deployment {deployment}"), _none_if_missing():
            self._once.endpoints.deployments.delete(deployment, endpoint_id=endpoint, project_id=self.project())


def guard_of(client: Client) -> Guard:
    """Make the guard that turns the client's errors into ours; the key is taken out of what the service said."""

    @contextlib.contextmanager
    def guard(doing: str) -> Iterator[None]:
        import together

        try:
            yield
        except together.APIStatusError as error:
            status, said = error.status_code, str(error.message).replace(client.api_key, "***")[:500]
            if status in (401, 403):
                raise CredentialsError(f"{doing}: Together refused the key (HTTP {status}): {said}; check TOGETHER_API_KEY") from error
            raise BackendError(
                f"{doing}: Together said no (HTTP {status}): {said}",
                retryable=status in (408, 425, 429) or status >= 500,
                retry_after_s=_seconds(error.response.headers.get("Retry-After")),
                status_code=status,
            ) from error
        except together.APIConnectionError as error:
            name = type(error).__name__
            raise BackendError(f"{doing}: no answer from Together ({name}); check the network, or try later", retryable=True) from error
        except (together.TogetherError, AttributeError, TypeError, ValueError) as error:
            # The client doesn't check answers: what is missing in one shows when it is read.
            raise BackendError(f"{doing}: Together's answer can't be read ({type(error).__name__})", retryable=True) from error

    return guard


@contextlib.contextmanager
def _none_if_missing() -> Iterator[None]:
    """Pass over a 404: what isn't there needn't be stopped."""
    import together

    with contextlib.suppress(together.NotFoundError):
        yield


def _seconds(retry_after: str | None) -> float | None:
    try:
        return None if retry_after is None else float(retry_after)
    except ValueError:
        return None


def _field(job: Any, name: str) -> str:
    # The generated class calls some of them `api_...`; what it doesn't declare comes through under its name on the wire.
    return str(getattr(job, f"api_{name}", None) or getattr(job, name, None) or "")


def _endpoint(found: Any) -> EndpointFacts:
    return EndpointFacts(found.id, found.name, {entry.deployment_id: entry.weight for entry in found.traffic_split or []})


def _deployment(found: Any) -> DeploymentFacts:
    status, autoscaling = found.status, found.autoscaling
    return DeploymentFacts(
        id=found.id,
        name=found.name,
        state=status.state,
        message=status.message or "",
        ready_replicas=status.ready_replicas or 0,
        is_scaled_to_zero=autoscaling is not None and autoscaling.max_replicas == 0,
        model=found.model or "",
        config=found.config or "",
    )
