"""Deployments of tuned models at Together: started once, looked at, and stopped until nothing is left.

An endpoint is a name and costs nothing; the deployment under it bills. A deployment that is ready answers nothing
before the endpoint routes requests to it, and it can be deleted only when it has stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from ftsdk.backends.together.serving_client import ServingClient
from ftsdk.backends.together.serving_offers import DeploymentFacts, EndpointFacts, offers_from, state_of
from ftsdk.errors import BackendError, SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol.serving import ServingOffer, ServingPlan, ServingStatus

__all__ = ["TogetherServing"]

T = TypeVar("T")

DEPLOYMENT = "tuned"
"""The deployment's name under its endpoint, which has one."""

_LOOKS_S = (0.0, 1.0, 2.0, 4.0)
"""Pauses before each look for something whose answer was lost, in seconds."""


class TogetherServing:
    """What `ftsdk.protocol.serving.CanServe` asks for, given the id of a fine-tuning job in place of a run's ref.

    Args:
        client: The wire.
        api_key_env: The environment variable from which an `Endpoint` takes the key.
        clock: Returns seconds since the epoch, for the date of a price.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        client: ServingClient,
        *,
        api_key_env: str = "TOGETHER_API_KEY",
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._api_key_env = api_key_env
        self._clock = clock
        self._sleep = sleep

    def offers(self, job: str) -> list[ServingOffer]:
        """List the hardware that can serve the job's model, with prices; empty if it can't be deployed."""
        model = self._client.tuned_model(job)
        if model is None:
            return []
        today = datetime.fromtimestamp(self._clock(), UTC).date().isoformat()
        return offers_from(self._client.configs(model), self._client.hardware(), as_of=today)

    def start(self, job: str, plan: ServingPlan, *, name: str, note: Callable[[Mapping[str, str]], None]) -> None:
        """Create the endpoint, then the deployment. The id of each is noted before the next request.

        Raises:
            SpecError: The job has no model that can be deployed.
            BackendError: The service refused, or didn't answer.
        """
        model = self._client.tuned_model(job)
        if model is None:
            raise SpecError(
                f"job {job} has no model in Together's registry, so it can't be deployed; collect the weights and "
                "serve them elsewhere"
            )
        endpoint = self._or_found(lambda: self._client.create_endpoint(name), lambda: self._client.find_endpoint(name))
        note({"endpoint": endpoint.id, "model": endpoint.name})
        deployment = self._or_found(
            lambda: self._client.create_deployment(
                endpoint.id,
                name=DEPLOYMENT,
                model=model.pinned,
                config=plan.offer.native["config"],
                idle_stop_min=plan.idle_stop_s // 60,
            ),
            lambda: next(iter(self._client.deployments(endpoint.id)), None),
        )
        note({"deployment": deployment.id})

    def _or_found(self, create: Callable[[], T], find: Callable[[], T | None]) -> T:
        """Create it; if the answer is lost, look it up, and never create it twice."""
        try:
            return create()
        except BackendError:
            # Refusals are other errors; after this one it may or may not exist.
            for pause in _LOOKS_S:
                self._sleep(pause)
                found = find()
                if found is not None:
                    return found
            raise

    def poll(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Return the state of the deployment; one that has become ready gets the endpoint's requests."""
        endpoint = self._endpoint(name, native)
        if endpoint is None:
            return ServingStatus(state="gone", reason="there is no such endpoint")
        deployment = next(iter(self._client.deployments(endpoint.id)), None)
        if deployment is None:
            return ServingStatus(state="gone", reason="the endpoint has no deployment")
        state = state_of(deployment)
        if state != "ready":
            return ServingStatus(state=state, native=deployment.state, reason=deployment.message)
        if not endpoint.traffic.get(deployment.id):
            self._client.route(endpoint.id, {deployment.id: 1.0})
        answers = Endpoint(
            url=self._client.chat_url,
            model=endpoint.name,
            api_key_env=self._api_key_env,
            allow_http=self._client.chat_url.startswith("http://"),  # Together(allow_http=) has decided
            revision=f"{deployment.model} {deployment.config}",
        )
        return ServingStatus(state="ready", native=deployment.state, reason=deployment.message, endpoint=answers)

    def stop(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Do the next steps of deleting it: replicas to zero first, which ends the billing.

        Then routes, deployments, endpoint.
        """
        endpoint = self._endpoint(name, native)
        if endpoint is None:
            # Without an endpoint there was never a deployment, or it is deleted.
            return ServingStatus(state="gone")
        deployments = self._client.deployments(endpoint.id)
        for deployment in deployments:
            if not deployment.is_scaled_to_zero:
                self._client.scale_to_zero(endpoint.id, deployment.id)
        refusals: list[str] = []
        if endpoint.traffic:
            self._close_routes(endpoint.id, endpoint.traffic, refusals)
        for deployment in deployments:
            _unless_refused(lambda id_=deployment.id: self._client.delete_deployment(endpoint.id, id_), refusals)
        if not self._client.deployments(endpoint.id):
            _unless_refused(lambda: self._client.delete_endpoint(endpoint.id), refusals)
        if self._client.endpoint(endpoint.id) is None:
            return ServingStatus(state="gone")
        return ServingStatus(state="stopping", native=_states(deployments), reason="; ".join(refusals))

    def _endpoint(self, name: str, native: Mapping[str, str]) -> EndpointFacts | None:
        known = native.get("endpoint")
        return self._client.endpoint(known) if known else self._client.find_endpoint(name)

    def _close_routes(self, endpoint: str, traffic: Mapping[str, float], refusals: list[str]) -> None:
        attempts: list[str] = []
        _unless_refused(lambda: self._client.route(endpoint, {}), attempts)
        if attempts:  # some versions of the service take no empty split; a weight of 0 means the same
            _unless_refused(lambda: self._client.route(endpoint, dict.fromkeys(traffic, 0.0)), refusals)


def _unless_refused(act: Callable[[], None], refusals: list[str]) -> None:
    """Act, and keep a refusal that another pass may get over, such as that it hasn't stopped yet."""
    try:
        act()
    except (BackendError, SpecError) as error:
        refusals.append(str(error))


def _states(deployments: list[DeploymentFacts]) -> str:
    return ", ".join(deployment.state for deployment in deployments)
