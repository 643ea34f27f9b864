"""Deployments at Together: the real client against the stand-in on loopback."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from served_backend import serving_at

from ftsdk.backends.together.serving import TogetherServing
from ftsdk.errors import BackendError, CredentialsError, SpecError
from ftsdk.protocol.serving import ServingPlan, plan_serving
from ftsdk.testing.together import HARDWARE, FaultKind, Scenario, TogetherService
from ftsdk.testing.together.jobs import Job

ENDPOINT = "*/endpoints/ep_000001"
ENDPOINTS = "*/endpoints"
DEPLOYMENT = "*/deployments/*"
DEPLOYMENTS = "*/endpoints/*/deployments"
H100, H100X2, B200 = HARDWARE


@pytest.fixture
def service() -> Iterator[TogetherService]:
    with TogetherService() as running:
        yield running


@pytest.fixture
def job(service: TogetherService) -> Job:
    return service.add_completed_job()


@pytest.fixture
def serving(service: TogetherService) -> TogetherServing:
    return serving_at(service.base_url, service.key, project_id=service.project_id)


class Notes(dict[str, str]):
    """What was noted, and how many deployments had been created by then."""

    def __init__(self, service: TogetherService) -> None:
        super().__init__()
        self._service = service
        self.before: list[tuple[str, int]] = []

    def take(self, native: Mapping[str, str]) -> None:
        self.before += [(key, len(self._service.inference.created)) for key in native]
        self.update(native)


def a_plan(serving: TogetherServing, job: Job) -> ServingPlan:
    return plan_serving(serving.offers(job.id), budget_usd=10)


def start(serving: TogetherServing, service: TogetherService, job: Job) -> Notes:
    notes = Notes(service)
    serving.start(job.id, a_plan(serving, job), name="ftsdk-run-1", note=notes.take)
    return notes


def asked(service: TogetherService, pattern: str, *, after: int = 0) -> list[str]:
    return [request.route for request in service.requests[after:] if fnmatchcase(request.route, pattern)]


def has_nothing(service: TogetherService) -> bool:
    return not list(service.inference) and not service.inference.deployments


def poll_until(serving: TogetherServing, native: Mapping[str, str], state: str) -> Any:
    for _ in range(10):
        status = serving.poll("ftsdk-run-1", native)
        if status.state == state:
            return status
    raise AssertionError(f"never {state}: {status}")


def stop_until_gone(serving: TogetherServing, native: Mapping[str, str]) -> int:
    for passes in range(1, 10):
        if serving.stop("ftsdk-run-1", native).state == "gone":
            return passes
    raise AssertionError("it is still there")


def test_hardware_and_prices_come_from_the_service_with_source_and_day() -> None:
    by_a_person = B200.replace(price_cents_per_hour=0)
    with TogetherService(hardware=(H100, H100X2.replace(gpu_type="H100"), by_a_person)) as service:
        job = service.add_completed_job()
        offers = {offer.hardware: offer for offer in serving_at(service.base_url, service.key).offers(job.id)}
    assert {name: offer.price_usd_per_hour for name, offer in offers.items()} == {
        "1xnvidia-h100-80gb": Decimal("3.99"),
        "2xnvidia-h100-80gb": Decimal("7.98"),
        "1xnvidia-b200-180gb": None,
    }
    one = offers["2xnvidia-h100-80gb"]
    assert (one.gpu_type, one.gpu_count, one.gpu_memory_gib, one.native) == (
        "H100",
        2,
        160,
        {"config": "projects/proj_tester/configs/cr_qwen-qwen3-5-9b_2xnvidia-h100-80gb"},
    )
    assert one.as_of == datetime.fromtimestamp(1_800_000_000, UTC).date().isoformat()
    assert "Together" in one.source


def test_a_config_whose_hardware_is_not_listed_is_no_offer() -> None:
    with TogetherService(hardware=(H100, H100X2.replace(listed=False), B200.replace(listed=False))) as service:
        offers = serving_at(service.base_url, service.key).offers(service.add_completed_job().id)
    assert [offer.hardware for offer in offers] == ["1xnvidia-h100-80gb"]


def test_a_model_without_configs_of_its_own_has_those_of_its_base(
    service: TogetherService, serving: TogetherServing, job: Job
) -> None:
    job.offer = job.offer.replace(configs_of_tuned=False)
    assert [offer.hardware for offer in serving.offers(job.id)] == [machine.name for machine in HARDWARE]
    assert len(asked(service, "GET */configs")) == 2


@pytest.mark.parametrize("missing", ["model", "configs"])
def test_a_model_that_cannot_be_deployed_has_no_offers(
    service: TogetherService, serving: TogetherServing, job: Job, missing: str
) -> None:
    if missing == "model":
        job.has_model = False
    else:
        job.offer = service.models[job.offer.name] = job.offer.replace(dedicated=False)
    assert serving.offers(job.id) == []
    assert asked(service, "POST *") == []


def test_a_job_whose_model_is_gone_is_refused_before_anything_starts(
    service: TogetherService, serving: TogetherServing, job: Job
) -> None:
    plan = a_plan(serving, job)
    job.has_model = False
    with pytest.raises(SpecError, match="no model"):
        serving.start(job.id, plan, name="ftsdk-run-1", note=lambda native: None)
    assert asked(service, "POST *") == []


def test_a_job_with_an_adapter_only_deploys_the_adapter(
    service: TogetherService, serving: TogetherServing, job: Job
) -> None:
    job.offer = job.offer.replace(merges_lora=False)
    start(serving, service, job)
    assert service.inference.created[0].model == f"projects/proj_tester/models/{job.model_id}a/revisions/rv_00000001a"


def test_a_model_without_a_revision_is_deployed_at_its_latest(
    service: TogetherService, serving: TogetherServing
) -> None:
    service.scenario = Scenario(omits_revisions=True)
    job = service.add_completed_job()
    start(serving, service, job)
    (request,) = [request for request in service.requests if request.route.endswith("/deployments")]
    assert request.json["model"] == f"projects/proj_tester/models/{job.model_id}"


def test_one_replica_is_requested_with_an_idle_stop_and_pinned_weights(
    service: TogetherService, serving: TogetherServing, job: Job
) -> None:
    start(serving, service, job)
    (request,) = [request for request in service.requests if request.route.endswith("/deployments")]
    assert request.json == {
        "model": "projects/proj_tester/models/ml_00000001/revisions/rv_00000001",
        "config": "projects/proj_tester/configs/cr_qwen-qwen3-5-9b_1xnvidia-h100-80gb",
        "autoscaling": {"minReplicas": 1, "maxReplicas": 1},
        "inactiveTimeout": 30,
        "name": "tuned",
    }


def test_the_endpoint_is_noted_before_the_request_that_costs_money(
    service: TogetherService, serving: TogetherServing, job: Job
) -> None:
    assert start(serving, service, job).before == [("endpoint", 0), ("model", 0), ("deployment", 1)]


def test_a_ready_deployment_gets_the_requests_and_answers(
    service: TogetherService, serving: TogetherServing, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.scenario = Scenario(provisioning_polls=3)
    native = start(serving, service, job)
    assert serving.poll("ftsdk-run-1", native).state == "starting"
    status = poll_until(serving, native, "ready")
    assert status.endpoint.url == f"{service.base_url}/v1"
    assert status.endpoint.model == "tester/ftsdk-run-1"
    assert "rv_00000001" in status.endpoint.revision
    assert len(asked(service, f"PATCH {ENDPOINT}")) == 1
    poll_until(serving, native, "ready")
    assert len(asked(service, f"PATCH {ENDPOINT}")) == 1
    monkeypatch.setenv("TOGETHER_API_KEY", service.key)
    with status.endpoint.open() as wire:
        assert wire.generate([[{"role": "user", "content": "hello"}]], max_new_tokens=5) == ["hello"]


@pytest.mark.parametrize(
    ("word", "state"), [("FAILED", "failed"), ("DEGRADED", "ready"), ("DREAMING", "unknown"), ("SCALING", "starting")]
)
def test_each_word_of_the_service_is_translated_and_kept(
    service: TogetherService, serving: TogetherServing, job: Job, word: str, state: str
) -> None:
    service.scenario = Scenario(deployment_state=word, provisioning_polls=0)
    status = serving.poll("ftsdk-run-1", start(serving, service, job))
    assert (status.state, status.native) == (state, f"DEPLOYMENT_STATE_{word}")


@pytest.mark.parametrize("what", [f"POST {ENDPOINTS}", f"POST {DEPLOYMENTS}"])
@pytest.mark.parametrize("fault", ["closed_after", "garbage_after"])
def test_a_lost_answer_is_looked_up_and_nothing_is_created_twice(
    service: TogetherService, serving: TogetherServing, job: Job, what: str, fault: FaultKind
) -> None:
    with service.failing(fault, on=what):
        native = start(serving, service, job)
    (deployment,) = service.inference.created
    assert len(asked(service, what)) == 1
    assert (native["endpoint"], native["deployment"]) == ("ep_000001", deployment.id)


def test_a_create_that_fails_is_not_sent_again_by_the_client(service: TogetherService, job: Job) -> None:
    serving = serving_at(service.base_url, service.key, max_retries=2)
    failed = pytest.raises(BackendError, match="503")
    with service.failing("503", on=f"POST {DEPLOYMENTS}"), failed as caught:
        start(serving, service, job)
    assert caught.value.retryable
    assert len(asked(service, f"POST {DEPLOYMENTS}")) == 1


def test_stopping_goes_from_replicas_to_routes_to_the_endpoint(
    service: TogetherService, serving: TogetherServing, job: Job
) -> None:
    native = start(serving, service, job)
    poll_until(serving, native, "ready")
    before = len(service.requests)
    assert stop_until_gone(serving, native) > 1  # it must have stopped before it can be deleted
    acts = asked(service, "[!G]*", after=before)
    endpoint = f"/v2/projects/{service.project_id}/endpoints/{native['endpoint']}"
    deployment = f"{endpoint}/deployments/{native['deployment']}"
    assert acts[:2] == [f"PATCH {deployment}", f"PATCH {endpoint}"]
    assert acts[-2:] == [f"DELETE {deployment}", f"DELETE {endpoint}"]
    assert service.requests[-1].route == f"GET {endpoint}"
    assert has_nothing(service)


def test_stopping_what_is_gone_changes_nothing(service: TogetherService, serving: TogetherServing, job: Job) -> None:
    native = start(serving, service, job)
    stop_until_gone(serving, native)
    before = len(service.requests)
    assert serving.stop("ftsdk-run-1", native).state == "gone"
    assert serving.stop("never-heard-of", {}).state == "gone"
    assert asked(service, "[!G]*", after=before) == []


@pytest.mark.parametrize("known", [(), ("endpoint",)])
def test_what_a_crash_left_is_found_by_name_or_by_its_endpoint(
    service: TogetherService, serving: TogetherServing, job: Job, known: tuple[str, ...]
) -> None:
    native = start(serving, service, job)
    stop_until_gone(serving, {key: native[key] for key in known})
    assert has_nothing(service)


def test_a_service_that_takes_no_empty_split_gets_a_weight_of_zero(
    service: TogetherService, serving: TogetherServing, job: Job
) -> None:
    native = start(serving, service, job)
    poll_until(serving, native, "ready")
    with service.failing("400", on=f"PATCH {ENDPOINT}", times=1):
        serving.stop("ftsdk-run-1", native)
    assert [entry["weight"] for entry in service.inference.find(native["endpoint"]).traffic_split] == [0.0]
    stop_until_gone(serving, native)
    assert service.inference.deployments == ()


@pytest.mark.parametrize("what", [f"PATCH {DEPLOYMENT}", f"DELETE {DEPLOYMENT}", f"DELETE {ENDPOINT}"])
def test_a_stop_whose_answer_is_lost_is_taken_up_where_it_was(
    service: TogetherService, serving: TogetherServing, job: Job, what: str
) -> None:
    native = start(serving, service, job)
    with service.failing("closed_after", on=what, times=1):
        try:
            stop_until_gone(serving, native)
        except BackendError:
            stop_until_gone(serving, native)
    assert asked(service, what)
    assert has_nothing(service)


def test_a_refused_key_is_the_caller_s_and_is_in_no_error(
    service: TogetherService, serving: TogetherServing, job: Job
) -> None:
    refused = pytest.raises(CredentialsError, match="TOGETHER_API_KEY")
    with service.failing("401"), refused as caught:  # its answer repeats the key
        serving.offers(job.id)
    assert service.key not in str(pickle.loads(pickle.dumps(caught.value)))
    assert service.key not in "".join(traceback.format_exception(caught.value))
    assert service.key not in repr(serving.__dict__)


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_busy_service_is_retryable(
    service: TogetherService, serving: TogetherServing, job: Job, status: FaultKind
) -> None:
    with service.failing(status), pytest.raises(BackendError) as caught:
        serving.offers(job.id)
    assert (caught.value.retryable, caught.value.status_code) == (True, int(status))
    assert service.key not in str(caught.value)


def test_the_project_is_that_of_the_key_unless_it_is_named(service: TogetherService, job: Job) -> None:
    assert len(serving_at(service.base_url, service.key).offers(job.id)) == 3
    assert len(asked(service, "GET */whoami")) == 1
    assert serving_at(service.base_url, service.key, project_id=service.project_id).offers(job.id)
    assert len(asked(service, "GET */whoami")) == 1
