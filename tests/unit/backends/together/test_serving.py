"""Deployments at Together: the real client against a strict server on loopback."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from dedicated_inference import KEY, DedicatedInference, serving_at

from ftsdk.backends.together.serving import TogetherServing
from ftsdk.errors import BackendError, CredentialsError, SpecError
from ftsdk.protocol.serving import ServingPlan, plan_serving


@pytest.fixture
def place() -> Iterator[DedicatedInference]:
    with DedicatedInference() as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def serving(place: DedicatedInference) -> TogetherServing:
    return serving_at(place.url)


class Notes(dict[str, str]):
    """What was noted, and how much had been asked of the place by then."""

    def __init__(self, place: DedicatedInference) -> None:
        super().__init__()
        self._place = place
        self.before: list[tuple[str, int]] = []

    def take(self, native: Mapping[str, str]) -> None:
        self.before += [(key, len(self._place.started)) for key in native]
        self.update(native)


def a_plan(serving: TogetherServing) -> ServingPlan:
    return plan_serving(serving.offers("ft-1"), budget_usd=10)


def start(serving: TogetherServing, place: DedicatedInference) -> Notes:
    notes = Notes(place)
    serving.start("ft-1", a_plan(serving), name="ftsdk-run-1", note=notes.take)
    return notes


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


def test_hardware_and_prices_come_from_the_service_with_source_and_day(serving: TogetherServing) -> None:
    offers = {offer.hardware: offer for offer in serving.offers("ft-1")}
    assert {name: offer.price_usd_per_hour for name, offer in offers.items()} == {
        "1xnvidia-h100-80gb": Decimal("3.99"),
        "2xnvidia-h100-80gb": Decimal("7.98"),
        "1xnvidia-b200-180gb": None,  # listed with 0: sold by a person
    }
    one = offers["2xnvidia-h100-80gb"]
    assert (one.gpu_type, one.gpu_count, one.gpu_memory_gib, one.native) == (
        "H100",
        2,
        80,
        {"config": "projects/public/configs/cr_h100x2"},
    )
    assert one.as_of == datetime.fromtimestamp(1_800_000_000, UTC).date().isoformat()
    assert "Together" in one.source


def test_a_config_whose_hardware_is_not_listed_is_no_offer(place: DedicatedInference, serving: TogetherServing) -> None:
    place.hardware = place.hardware[:1]
    assert [offer.hardware for offer in serving.offers("ft-1")] == ["1xnvidia-h100-80gb"]


def test_a_model_without_configs_of_its_own_has_those_of_its_base(
    place: DedicatedInference, serving: TogetherServing
) -> None:
    place.base_configs, place.configs = place.configs[:1], []
    assert [offer.native["config"] for offer in serving.offers("ft-1")] == ["projects/public/configs/cr_h100"]


@pytest.mark.parametrize("missing", ["model", "configs"])
def test_a_model_that_cannot_be_deployed_has_no_offers(
    place: DedicatedInference, serving: TogetherServing, missing: str
) -> None:
    if missing == "model":
        place.job = {}
    else:
        place.configs = []
    assert serving.offers("ft-1") == []
    assert place.spending == []


def test_a_job_whose_model_is_gone_is_refused_before_anything_starts(
    place: DedicatedInference, serving: TogetherServing
) -> None:
    plan = a_plan(serving)
    place.job = {}
    with pytest.raises(SpecError, match="no model"):
        serving.start("ft-1", plan, name="ftsdk-run-1", note=lambda native: None)
    assert place.spending == []


def test_a_job_with_an_adapter_only_deploys_the_adapter(place: DedicatedInference, serving: TogetherServing) -> None:
    place.job = {"adapter_object_id": "ml_7"}
    start(serving, place)
    assert place.started[0]["model"] == "projects/proj_1/models/ml_7"


def test_one_replica_is_requested_with_an_idle_stop_and_pinned_weights(
    place: DedicatedInference, serving: TogetherServing
) -> None:
    start(serving, place)
    asked = {key: place.started[0][key] for key in ("model", "config", "autoscaling", "inactiveTimeout", "name")}
    assert asked == {
        "model": "projects/proj_1/models/ml_7/revisions/rv_1",
        "config": "projects/public/configs/cr_h100",
        "autoscaling": {"minReplicas": 1, "maxReplicas": 1},
        "inactiveTimeout": 30,
        "name": "tuned",
    }


def test_the_endpoint_is_noted_before_the_request_that_costs_money(
    place: DedicatedInference, serving: TogetherServing
) -> None:
    assert start(serving, place).before == [("endpoint", 0), ("model", 0), ("deployment", 1)]


def test_a_ready_deployment_gets_the_requests_and_answers(
    place: DedicatedInference, serving: TogetherServing, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = start(serving, place)
    assert serving.poll("ftsdk-run-1", native).state == "starting"
    status = poll_until(serving, native, "ready")
    assert status.endpoint.url == f"{place.url}/v1"
    assert status.endpoint.model == "slug/ftsdk-run-1"
    assert "rv_1" in status.endpoint.revision
    assert place.said.count("PATCH endpoint") == 1
    poll_until(serving, native, "ready")
    assert place.said.count("PATCH endpoint") == 1
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    with status.endpoint.open() as wire:
        assert wire.generate([[{"role": "user", "content": "hello"}]], max_new_tokens=5) == ["hello"]


@pytest.mark.parametrize(
    ("word", "state"), [("FAILED", "failed"), ("DEGRADED", "ready"), ("DREAMING", "unknown"), ("SCALING", "starting")]
)
def test_each_word_of_the_service_is_translated_and_kept(
    place: DedicatedInference, serving: TogetherServing, word: str, state: str
) -> None:
    place.looks, place.state_when_up = 0, word
    status = serving.poll("ftsdk-run-1", start(serving, place))
    assert (status.state, status.native) == (state, f"DEPLOYMENT_STATE_{word}")


@pytest.mark.parametrize("what", ["POST endpoints", "POST deployments"])
@pytest.mark.parametrize("fault", ["lose", "garbage"])
def test_a_lost_answer_is_looked_up_and_nothing_is_created_twice(
    place: DedicatedInference, serving: TogetherServing, what: str, fault: str
) -> None:
    place.fault = lambda asked, n: fault if asked == what else None
    native = start(serving, place)
    assert len(place.started) == 1
    assert place.said.count(what) == 1
    assert (native["endpoint"], native["deployment"]) == ("ep_1", "dep_1")


def test_a_create_that_fails_is_not_sent_again_by_the_client(place: DedicatedInference) -> None:
    place.fault = lambda asked, n: "503" if asked == "POST deployments" else None
    serving = serving_at(place.url, max_retries=2)
    with pytest.raises(BackendError, match="503") as caught:
        start(serving, place)
    assert caught.value.retryable
    assert place.said.count("POST deployments") == 1


def test_stopping_goes_from_replicas_to_routes_to_the_endpoint(
    place: DedicatedInference, serving: TogetherServing
) -> None:
    native = start(serving, place)
    poll_until(serving, native, "ready")
    place.said.clear()
    assert stop_until_gone(serving, native) > 1  # it must have stopped before it can be deleted
    acts = [what for what in place.said if not what.startswith("GET")]
    assert acts[:2] == ["PATCH deployment", "PATCH endpoint"]
    assert acts[-2:] == ["DELETE deployment", "DELETE endpoint"]
    assert place.said[-1] == "GET endpoint"
    assert (place.endpoints, place.deployments) == ({}, {})


def test_stopping_what_is_gone_changes_nothing(place: DedicatedInference, serving: TogetherServing) -> None:
    native = start(serving, place)
    stop_until_gone(serving, native)
    place.said.clear()
    assert serving.stop("ftsdk-run-1", native).state == "gone"
    assert serving.stop("never-heard-of", {}).state == "gone"
    assert not any(what.startswith(("PATCH", "POST", "DELETE")) for what in place.said)


@pytest.mark.parametrize("known", [(), ("endpoint",)])
def test_what_a_crash_left_is_found_by_name_or_by_its_endpoint(
    place: DedicatedInference, serving: TogetherServing, known: tuple[str, ...]
) -> None:
    native = start(serving, place)
    stop_until_gone(serving, {key: native[key] for key in known})
    assert (place.endpoints, place.deployments) == ({}, {})


def test_a_service_that_takes_no_empty_split_gets_a_weight_of_zero(
    place: DedicatedInference, serving: TogetherServing
) -> None:
    native = start(serving, place)
    poll_until(serving, native, "ready")
    place.fault = lambda asked, n: "400" if asked == "PATCH endpoint" and n == 2 else None
    serving.stop("ftsdk-run-1", native)
    assert [entry["weight"] for entry in place.endpoints["ep_1"]["trafficSplit"]] == [0.0]
    place.fault = lambda asked, n: None
    stop_until_gone(serving, native)
    assert place.deployments == {}


@pytest.mark.parametrize("what", ["PATCH deployment", "DELETE deployment", "DELETE endpoint"])
def test_a_stop_whose_answer_is_lost_is_taken_up_where_it_was(
    place: DedicatedInference, serving: TogetherServing, what: str
) -> None:
    native = start(serving, place)
    place.fault = lambda asked, n: "lose" if asked == what and n == 1 else None
    try:
        stop_until_gone(serving, native)
    except BackendError:
        stop_until_gone(serving, native)
    assert place.times[what] >= 1
    assert (place.endpoints, place.deployments) == ({}, {})


def test_a_refused_key_is_the_caller_s_and_is_in_no_error(place: DedicatedInference, serving: TogetherServing) -> None:
    place.fault = lambda asked, n: "401"  # the server repeats the key in its answer
    with pytest.raises(CredentialsError, match="TOGETHER_API_KEY") as caught:
        serving.offers("ft-1")
    assert KEY not in str(pickle.loads(pickle.dumps(caught.value)))
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in repr(serving.__dict__)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_retryable(place: DedicatedInference, serving: TogetherServing, status: int) -> None:
    place.fault = lambda asked, n: str(status)
    with pytest.raises(BackendError) as caught:
        serving.offers("ft-1")
    assert (caught.value.retryable, caught.value.status_code) == (True, status)
    assert KEY not in str(caught.value)


def test_the_project_is_that_of_the_key_unless_it_is_named(place: DedicatedInference) -> None:
    assert len(serving_at(place.url, project_id=None).offers("ft-1")) == 3
    assert place.said.count("GET whoami") == 1
    assert serving_at(place.url).offers("ft-1")
    assert place.said.count("GET whoami") == 1
