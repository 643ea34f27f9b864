"""What goes wrong on the way to the stand-in for Together, and what the real client makes of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ftsdk.testing.together import Chaos, Scenario, TogetherService, WireFault

together = pytest.importorskip("together", reason="the extra 'together' isn't installed")

if TYPE_CHECKING:
    from pathlib import Path

    from together import Together

CREATE = "POST /v1/fine-tunes"


def patient(service: TogetherService, **options: Any) -> Together:
    """Give the client as it is without our settings: it tries again by itself."""
    http = together.DefaultHttpxClient(trust_env=False, verify=False)
    return together.Together(api_key=service.key, base_url=service.base_url, http_client=http, **options)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("400", "BadRequestError"),
        ("401", "AuthenticationError"),
        ("402", "APIStatusError"),
        ("403", "PermissionDeniedError"),
        ("404", "NotFoundError"),
        ("413", "APIStatusError"),
        ("422", "UnprocessableEntityError"),
        ("429", "RateLimitError"),
        ("503", "InternalServerError"),
        ("529", "InternalServerError"),
        ("closed", "APIConnectionError"),
        ("closed_after", "APIConnectionError"),
        ("500_after", "InternalServerError"),
    ],
)
def test_a_fault_is_the_clients_own_error_while_it_is_on(
    client: Together, service: TogetherService, kind: Any, error: str
) -> None:
    with service.failing(kind), pytest.raises(together.APIError) as caught:
        client.fine_tuning.list()
    assert type(caught.value).__name__ == error
    assert service.requests[-1].fault == kind
    assert client.fine_tuning.list().data == []
    assert service.requests[-1].fault == ""


def test_429_says_how_long_to_wait(client: Together, service: TogetherService) -> None:
    with service.failing("429"), pytest.raises(together.RateLimitError) as caught:
        client.fine_tuning.list()
    assert caught.value.response.headers["Retry-After"] == "7"
    with service.failing("429", retry_after_s=0.25), pytest.raises(together.RateLimitError) as caught:
        client.fine_tuning.list()
    assert caught.value.response.headers["Retry-After"] == "0.25"


def test_garbage_is_a_success_that_is_no_json(client: Together, service: TogetherService) -> None:
    with service.failing("garbage"):
        answer = client.fine_tuning.with_raw_response.list()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    assert b"We'll be right back" in answer.http_response.content


def test_an_answer_that_comes_too_late_is_a_timeout_and_the_work_was_done(
    client: Together, service: TogetherService, upload: Any
) -> None:
    file_id = upload()
    hasty = client.with_options(timeout=0.2)
    begin = time.monotonic()
    with service.failing("late", on=CREATE), pytest.raises(together.APITimeoutError):
        hasty.fine_tuning.create(
            training_file=file_id, model="example/tiny-instruct", lora=True, train_on_inputs="auto"
        )
    assert time.monotonic() - begin < 5
    assert len(service.jobs) == 1


def test_a_late_answer_comes_after_its_delay(client: Together, service: TogetherService) -> None:
    begin = time.monotonic()
    with service.failing("late", delay_s=0.2):
        assert client.fine_tuning.list().data == []
    assert time.monotonic() - begin >= 0.2


def test_a_truncated_answer_breaks_the_connection(client: Together, service: TogetherService) -> None:
    with service.failing("truncated"), pytest.raises(together.APIConnectionError):
        client.fine_tuning.model_limits(model_name="example/tiny-instruct")


def test_a_fault_strikes_the_requests_that_it_names_as_often_as_it_says(
    client: Together, service: TogetherService
) -> None:
    service.scenario = Scenario(wire=(WireFault(kind="503", on="GET /v1/files*", skip=1, times=2),))
    seen: list[int] = []
    for _ in range(5):
        assert client.fine_tuning.list().data == []
        try:
            client.files.list()
        except together.InternalServerError as error:
            seen.append(error.status_code)
        else:
            seen.append(200)
    assert seen == [200, 503, 503, 200, 200]


@pytest.mark.parametrize(
    ("scenario", "error"),
    [("loses_the_response_of_create", "APIConnectionError"), ("fails_after_creating", "InternalServerError")],
)
def test_a_lost_answer_of_create_leaves_one_job_that_its_suffix_finds(
    client: Together, service: TogetherService, start: Any, scenario: str, error: str
) -> None:
    service.scenario = scenario
    with pytest.raises(together.APIError) as caught:
        start(suffix="only-one")
    assert type(caught.value).__name__ == error
    assert [job.suffix for job in client.fine_tuning.list().data] == ["only-one"]


def test_a_client_that_tries_create_again_by_itself_starts_two_jobs(service: TogetherService, upload: Any) -> None:
    file_id = upload()
    service.scenario = "fails_after_creating"
    with patient(service) as client:
        client.fine_tuning.create(
            training_file=file_id, model="example/tiny-instruct", lora=True, train_on_inputs="auto"
        )
    assert len(service.jobs) == 2


def test_create_can_want_credit(client: Together, service: TogetherService, start: Any) -> None:
    service.scenario = "payment_required"
    with pytest.raises(together.APIStatusError) as caught:
        start()
    assert caught.value.status_code == 402
    assert len(service.jobs) == 0


def test_rates_are_limited_for_the_first_looks(client: Together, service: TogetherService, start: Any) -> None:
    service.scenario = Scenario(wire=(WireFault(kind="429", times=2, on="GET /v1/fine-tunes/ft-*"),))
    job_id = start()
    for _ in range(2):
        with pytest.raises(together.RateLimitError):
            client.fine_tuning.retrieve(job_id)
    assert client.fine_tuning.retrieve(job_id).status == "queued"


def test_a_dropped_upload_leaves_no_content_and_the_next_one_is_whole(
    client: Together, service: TogetherService, upload: Any
) -> None:
    service.scenario = "drops_the_upload"
    with pytest.raises(httpx.TransportError):
        upload()
    assert [file.content for file in service.files] == [None]
    assert client.files.list().data == []
    assert client.files.retrieve(upload()).processing_status == "COMPLETED"


def test_an_upload_that_does_not_match_its_checksum_is_refused(
    client: Together, service: TogetherService, upload: Any
) -> None:
    with service.failing("half_upload", on="PUT *"), pytest.raises(httpx.TransportError):
        upload()
    answer = httpx.put(
        f"{service.base_url}/presigned/file-00000001", content=b"other bytes", trust_env=False, verify=False
    )
    assert (answer.status_code, "checksum" in answer.text) == (400, True)


# Chance.


def walk(service: TogetherService, client: Together) -> list[tuple[str, int | None, str]]:
    for _ in range(60):
        try:
            client.fine_tuning.list()
            client.fine_tuning.model_limits(model_name="example/tiny-instruct")
        except together.APIError:
            pass
    return [(request.route, request.status, request.fault) for request in service.requests]


def test_the_same_seed_is_the_same_weather_and_another_is_not() -> None:
    seen: list[Any] = []
    for seed in (1, 1, 2):
        with TogetherService() as service, patient(service, max_retries=0) as client:
            service.chaos = Chaos(seed=seed, probability=0.3)
            seen.append(walk(service, client))
    assert seen[0] == seen[1] != seen[2]
    kinds = {fault for _, _, fault in seen[0]} - {""}
    assert kinds == {"500", "500_after", "closed", "closed_after", "429", "truncated"}
    share = sum(bool(fault) for _, _, fault in seen[0]) / len(seen[0])
    assert 0.15 < share < 0.45


def test_chaos_can_be_switched_off_and_kept_to_some_requests(client: Together, service: TogetherService) -> None:
    service.chaos = Chaos(seed=1, probability=1, kinds=("503",), on="GET /v1/files")
    assert client.fine_tuning.list().data == []
    with pytest.raises(together.InternalServerError):
        client.files.list()
    service.chaos = None
    assert client.files.list().data == []


def test_closing_ends_connections_that_are_waited_on(tmp_path: Path) -> None:
    with TogetherService() as service:
        client = patient(service, max_retries=0, timeout=30)
        client.fine_tuning.list()
        begin = time.monotonic()
    assert time.monotonic() - begin < 2
    with client, pytest.raises(together.APIConnectionError):
        client.fine_tuning.list()
    with pytest.raises(RuntimeError, match="isn't running"):
        _ = service.base_url


def test_a_bug_of_the_service_itself_is_not_taken_for_the_clients() -> None:
    def broken(*_: Any) -> str:
        raise ZeroDivisionError("in the test's own answer")

    is_told, is_bug = (
        pytest.raises(together.InternalServerError),
        pytest.raises(RuntimeError, match="ZeroDivisionError"),
    )
    with is_bug, TogetherService(chat=broken) as service, patient(service, max_retries=0) as client, is_told:
        client.chat.completions.create(model="example/tiny-instruct", messages=[{"role": "user", "content": "hi"}])
