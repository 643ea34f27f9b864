"""The wire to Together's dedicated inference (v2): one call, one method, no decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ftsdk.backends.together.serving_offers import Config, DeploymentFacts, EndpointFacts, Instance, TunedModel
from ftsdk.errors import BackendError, RunNotFoundError

if TYPE_CHECKING:
    from together import Together as Client

__all__ = ["Ask", "ServingClient"]

T = TypeVar("T")


class Ask(Protocol):
    """Makes a call, and turns the client's errors into ours; 404 is `RunNotFoundError`."""

    def __call__(self, doing: str, call: Callable[[], T]) -> T:
        """Call; `doing` is for the message, as in "Together, listing hardware, ..."."""
        ...


class ServingClient:
    """Together's client, as far as serving needs it.

    Args:
        client: Together's own, ready to be used.
        ask: How each call is made.
    """

    def __init__(self, client: Client, *, ask: Ask) -> None:
        self._client = client
        # A create that the client sends again by itself could become two deployments; a delete that is refused is our
        # loop's to repeat.
        self._once = client.with_options(max_retries=0)
        self._ask = ask
        self._project: str | None = client.project_id

    @property
    def chat_url(self) -> str:
        """Where chat completions are asked for; the client keeps this address to itself, so it is repeated here."""
        base = str(self._client.base_url).rstrip("/").removesuffix("/v1")
        return (
            "https://api-inference.together.ai/v1"
            if base in ("https://api.together.ai", "https://api.together.xyz")
            else f"{base}/v1"
        )

    def project(self) -> str:
        """Return the project that the client was made for, or that the key belongs to.

        Raises:
            BackendError: The key belongs to no one project.
        """
        if self._project is None:
            owner = self._ask("asking for the key's project", self._client.whoami)
            self._project = getattr(getattr(owner, "project", None), "id", None)
        if self._project is None:
            raise BackendError(
                "serving needs a project and the key belongs to none; name it: Together(project_id='...'), or "
                "TOGETHER_PROJECT_ID"
            )
        return self._project

    def tuned_model(self, job: str) -> TunedModel | None:
        """Find what a fine-tuning job made.

        The whole model, or the adapter, which the service merges when it is deployed.
        """
        project = self.project()
        found = self._ask("looking up the job's model", lambda: self._client.fine_tuning.retrieve(job))
        for kind in ("model", "adapter"):
            model, revision = _field(found, f"{kind}_object_id"), _field(found, f"{kind}_object_revision_id")
            if model:
                return TunedModel(project, model, revision or None)
        return None

    def configs(self, model: TunedModel) -> list[Config]:
        """List the configs that the model can be served with; a model without any of its own has those of its base."""

        def of(reference: str) -> list[Config]:
            listed = self._client.models.configs.list(project_id=model.project, reference_model=reference)
            return [
                Config(
                    f"projects/{one.project_id}/configs/{one.id}",
                    {selector.key: selector.value for selector in one.selectors or []},
                )
                for one in listed
            ]

        doing = "listing what the model can be served with"
        found = self._ask(doing, lambda: of(model.path))
        if found:
            return found
        base = self._ask(
            "looking up the model", lambda: self._client.models.retrieve(model.id, project_id=model.project).base_model
        )
        return self._ask(doing, lambda: of(base)) if base else []

    def hardware(self) -> list[Instance]:
        """List hardware and prices."""
        return self._ask(
            "listing hardware and prices",
            lambda: [
                Instance(
                    one.id,
                    one.name,
                    one.gpu_type,
                    one.gpu_count,
                    one.gpu_memory_gib,
                    one.price_cents_per_hour,
                    _free(one),
                )
                for one in self._client.endpoints.hardware.list().data
            ],
        )

    def create_endpoint(self, name: str) -> EndpointFacts:
        """Make an endpoint, which costs nothing."""
        project = self.project()
        return self._ask(
            "creating an endpoint", lambda: _endpoint(self._once.endpoints.create(project_id=project, name=name))
        )

    def find_endpoint(self, name: str) -> EndpointFacts | None:
        """Look for an endpoint by its name in the whole list."""
        project = self.project()
        listed = self._ask(
            "listing the endpoints", lambda: [_endpoint(one) for one in self._client.endpoints.list(project_id=project)]
        )
        return next((one for one in listed if one.name.rpartition("/")[2] == name), None)

    def endpoint(self, id_: str) -> EndpointFacts | None:
        """Return the endpoint, or None if there is none."""
        project = self.project()
        try:
            return self._ask(
                "looking at the endpoint", lambda: _endpoint(self._client.endpoints.retrieve(id_, project_id=project))
            )
        except RunNotFoundError:
            return None

    def route(self, endpoint: str, weights: dict[str, float]) -> None:
        """Set which deployments of an endpoint get its requests."""
        project = self.project()
        split: list[Any] = [{"deployment_id": deployment, "weight": weight} for deployment, weight in weights.items()]
        # The mask says that the split is meant, also when it is empty.
        update = self._once.endpoints.update
        self._ask(
            "routing requests",
            lambda: update(endpoint, project_id=project, traffic_split=split, update_mask="trafficSplit"),
        )

    def delete_endpoint(self, id_: str) -> None:
        """Delete an endpoint without deployments; one that is gone already is fine."""
        project = self.project()
        self._unless_missing("deleting the endpoint", lambda: self._once.endpoints.delete(id_, project_id=project))

    def create_deployment(
        self, endpoint: str, *, name: str, model: str, config: str, idle_stop_min: int
    ) -> DeploymentFacts:
        """Start a deployment of one replica. This is the request that costs money, and it is sent once."""
        project = self.project()
        create = self._once.endpoints.deployments.create
        return self._ask(
            "creating a deployment",
            lambda: _deployment(
                create(
                    endpoint,
                    project_id=project,
                    name=name,
                    model=model,
                    config=config,
                    autoscaling={"min_replicas": 1, "max_replicas": 1},
                    inactive_timeout=idle_stop_min,
                )
            ),
        )

    def deployments(self, endpoint: str) -> list[DeploymentFacts]:
        """List the deployments of an endpoint; none if it is gone."""
        project = self.project()
        listing = self._client.endpoints.deployments.list
        try:
            return self._ask(
                "looking at the deployments",
                lambda: [_deployment(one) for one in listing(endpoint, project_id=project)],
            )
        except RunNotFoundError:
            return []

    def scale_to_zero(self, endpoint: str, deployment: str) -> None:
        """Stop a deployment: this ends what it bills."""
        project = self.project()
        update = self._client.endpoints.deployments.update
        self._unless_missing(
            "stopping the deployment",
            lambda: update(
                deployment,
                endpoint_id=endpoint,
                project_id=project,
                autoscaling={"min_replicas": 0, "max_replicas": 0},
                update_mask="autoscaling",
            ),
        )

    def delete_deployment(self, endpoint: str, deployment: str) -> None:
        """Delete a deployment; one that is gone already is fine."""
        project = self.project()
        delete = self._once.endpoints.deployments.delete
        self._unless_missing(
            "deleting the deployment", lambda: delete(deployment, endpoint_id=endpoint, project_id=project)
        )

    def _unless_missing(self, doing: str, call: Callable[[], object]) -> None:
        """Call, and pass over a 404: what isn't there needn't be stopped."""
        try:
            self._ask(doing, call)
        except RunNotFoundError:
            return


def _field(job: Any, name: str) -> str:
    # The generated class calls some of them `api_...`; what it doesn't declare comes through under its name on the
    # wire.
    return str(getattr(job, f"api_{name}", None) or getattr(job, name, None) or "")


def _free(hardware: Any) -> int | None:
    counts = [region.headroom.value for region in hardware.regions or [] if region.headroom is not None]
    # A count that is left out is 0 on this wire, as protobuf writes it; a list without any says nothing.
    return sum(count or 0 for count in counts) if counts else None


def _endpoint(found: Any) -> EndpointFacts:
    return EndpointFacts(
        found.id, found.name, {entry.deployment_id: entry.weight for entry in found.traffic_split or []}
    )


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
