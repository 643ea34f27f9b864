"""Deployments and chat at the stand-in for Together, through the real client."""

# The client declares every field of an answer as optional, and some not at all.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportOptionalIterable=false, reportOptionalOperand=false, reportOperatorIssue=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ftsdk.testing.together import Scenario, TogetherService

together = pytest.importorskip("together", reason="the extra 'together' isn't installed")

if TYPE_CHECKING:
    from together import Together

MESSAGES = [{"role": "user", "content": "Sort this message, please."}]


@pytest.fixture
def tuned(client: Together, start: Any, finish: Any) -> str:
    """The resource name of a model that a job made."""
    job_id = start()
    finish(job_id)
    job = client.fine_tuning.retrieve(job_id)
    return f"projects/{client.project_id}/models/{job.api_model_object_id}"


@pytest.fixture
def deploy(client: Together, tuned: str) -> Any:
    """Deploy the model, and give the endpoint and the deployment."""

    def deploy(*, name: str = "mine", **changes: Any) -> tuple[Any, Any]:
        config = client.models.configs.list(reference_model=tuned).data[0]
        endpoint = client.endpoints.create(name=name)
        asked = {
            "autoscaling": {"min_replicas": 1, "max_replicas": 1},
            "inactive_timeout": 30,
            "model": tuned,
            "name": "first",
            **changes,
        }
        asked.setdefault("config", f"projects/{config.project_id}/configs/{config.id}")
        return endpoint, client.endpoints.deployments.create(endpoint.id, **asked)

    return deploy


def state_of(client: Together, deployment: Any) -> str:
    return client.endpoints.deployments.retrieve(
        deployment.id, endpoint_id=deployment.endpoint_id
    ).status.state.removeprefix("DEPLOYMENT_STATE_")


def ask(client: Together, model: str, **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=MESSAGES, **more)


def test_the_way_from_a_tuned_model_to_an_answer_and_back_to_nothing(
    client: Together, service: TogetherService, deploy: Any, tuned: str
) -> None:
    endpoint, deployment = deploy()
    assert [state_of(client, deployment) for _ in range(3)] == ["PROVISIONING", "READY", "READY"]
    with pytest.raises(together.NotFoundError, match="nothing that is ready serves it"):
        ask(client, endpoint.name)
    client.endpoints.update(endpoint.id, traffic_split=[{"deployment_id": deployment.id, "weight": 1}])
    assert ask(client, endpoint.name).choices[0].message.content == "Sort this message, please."
    assert client.endpoints.retrieve(endpoint.id).deployments[0].estimated_effective_traffic_share == 1
    at = {"endpoint_id": endpoint.id}
    with pytest.raises(together.BadRequestError, match="stop it first"):
        client.endpoints.deployments.delete(deployment.id, **at)
    client.endpoints.deployments.update(deployment.id, **at, autoscaling={"min_replicas": 0, "max_replicas": 0})
    assert [state_of(client, deployment) for _ in range(2)] == ["STOPPING", "STOPPED"]
    with pytest.raises(together.NotFoundError):
        ask(client, endpoint.name)
    with pytest.raises(together.BadRequestError, match="traffic split"):
        client.endpoints.deployments.delete(deployment.id, **at)
    with pytest.raises(together.BadRequestError, match="no fields to update"):
        client.endpoints.update(endpoint.id, traffic_split=[])
    client.endpoints.update(endpoint.id, traffic_split=[], update_mask="trafficSplit")
    with pytest.raises(together.BadRequestError, match="still has deployments"):
        client.endpoints.delete(endpoint.id)
    client.endpoints.deployments.delete(deployment.id, **at)
    client.endpoints.delete(endpoint.id)
    assert client.endpoints.list().data == []
    assert service.hosting_usd > 0


def test_a_deployment_can_be_asked_past_the_split(client: Together, deploy: Any) -> None:
    endpoint, deployment = deploy()
    client.endpoints.retrieve(endpoint.id)
    client.endpoints.retrieve(endpoint.id)
    assert deployment.name == "tester/mine/first"
    assert ask(client, deployment.name).choices[0].finish_reason == "stop"


def test_hosting_is_billed_by_the_time_that_it_is_ready_and_ends_by_itself(
    client: Together, service: TogetherService, deploy: Any
) -> None:
    _, deployment = deploy()
    service.pass_time(3600)
    assert service.hosting_usd == 0
    while state_of(client, deployment) != "READY":
        pass
    # A deployment that has waited long for its machine isn't stopped for it.
    assert state_of(client, deployment) == "READY"
    before = service.hosting_usd
    service.pass_time(600)
    assert service.hosting_usd - before == pytest.approx(3.99 / 6)
    service.pass_time(100_000)
    assert state_of(client, deployment) == "STOPPED"
    assert service.hosting_usd == pytest.approx(3.99 / 2, rel=0.01)


def test_hardware_is_listed_with_its_price_and_named_by_configs(client: Together, tuned: str) -> None:
    machines = {machine.name: machine for machine in client.endpoints.hardware.list().data}
    assert machines["1xnvidia-h100-80gb"].price_cents_per_hour == 399
    assert machines["1xnvidia-b200-180gb"].regions[0].headroom.value == 0
    named = {
        selector.key: selector.value for selector in client.models.configs.list(reference_model=tuned).data[0].selectors
    }
    assert f"{named['accelerator_count']}x{named['accelerator_type']}" in machines


def test_who_and_what_is_there_is_told(client: Together, service: TogetherService, tuned: str) -> None:
    assert (client.whoami().project.id, client.whoami().project.slug) == (service.project_id, "tester")
    assert tuned.rpartition("/")[2] in {model.id for model in client.models.list().data}
    dedicated = {model.name for model in client.models.list_supported(product="PRODUCT_DEDICATED").data}
    tunable = {model.name for model in client.models.list_supported(product="PRODUCT_FINE_TUNING").data}
    assert tunable - dedicated == {"deepseek-ai/DeepSeek-V3.1"}
    with pytest.raises(together.PermissionDeniedError):
        client.endpoints.list(project_id="proj_of_others")


def test_a_trial_checks_everything_and_deploys_nothing(client: Together, service: TogetherService, deploy: Any) -> None:
    deploy(validate_only=True)
    assert service.inference.deployments == ()
    with pytest.raises(together.BadRequestError, match="30 to 1440"):
        deploy(name="other", validate_only=True, inactive_timeout=5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"inactive_timeout": 29}, "30 to 1440"),
        ({"autoscaling": {"min_replicas": 2, "max_replicas": 1}}, "0 <= min <= max"),
        ({"config": "projects/proj_tester/configs/cr_other"}, "doesn't fit model"),
        ({"config": "projects/proj_tester/configs/cr_example-tiny-instruct_1xnvidia-b200-180gb"}, "is free"),
    ],
)
def test_a_deployment_that_can_not_be_is_refused(
    service: TogetherService, deploy: Any, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(together.BadRequestError, match=says):
        deploy(**change)
    assert service.inference.deployments == ()


def test_names_are_given_once_and_stale_etags_are_refused(client: Together, deploy: Any) -> None:
    endpoint, deployment = deploy()
    with pytest.raises(together.ConflictError):
        client.endpoints.create(name="mine")
    split = [{"deployment_id": deployment.id, "weight": 1}]
    client.endpoints.update(endpoint.id, traffic_split=split, etag=endpoint.etag)
    with pytest.raises(together.ConflictError, match="etag"):
        client.endpoints.update(endpoint.id, traffic_split=split, etag=endpoint.etag)


def test_a_deployment_can_fail_or_never_be_ready(client: Together, service: TogetherService, deploy: Any) -> None:
    service.scenario = "fails_to_provision"
    _, deployment = deploy()
    assert [state_of(client, deployment) for _ in range(3)] == ["PROVISIONING", "FAILED", "FAILED"]
    service.scenario = "never_provisions"
    _, deployment = deploy(name="other")
    assert {state_of(client, deployment) for _ in range(9)} == {"PROVISIONING"}


def test_chat_is_answered_by_the_tests_own_function(client: Together, service: TogetherService, deploy: Any) -> None:
    asked: list[Any] = []

    def answer(*given: Any) -> str:
        asked.append(given)
        return "one two three"

    service.chat = answer
    said = ask(client, "example/tiny-instruct", max_tokens=2, temperature=0.0)
    assert (said.choices[0].message.content, said.choices[0].finish_reason) == ("one two", "length")
    assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (4, 2)
    assert asked == [("example/tiny-instruct", MESSAGES, 2, 0.0)]


def test_what_is_not_deployed_can_not_be_asked(client: Together, service: TogetherService) -> None:
    with pytest.raises(together.NotFoundError):
        ask(client, "Qwen/Qwen3.5-9B")
    service.scenario = Scenario(provisioning_polls=0)
    with pytest.raises(together.UnprocessableEntityError):
        client.chat.completions.create(model="example/tiny-instruct", messages=[])
