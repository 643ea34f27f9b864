"""The stand-in for Together, driven by the real client: files, jobs, prices, and what it refuses."""

# The client declares every field of an answer as optional, and some not at all.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportOptionalIterable=false, reportOptionalOperand=false, reportOperatorIssue=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ftsdk.errors import SpecError
from ftsdk.testing.together import SCENARIOS, Scenario, TogetherService

together = pytest.importorskip("together", reason="the extra 'together' isn't installed")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from together import Together

CREATE = "POST /v1/fine-tunes"


def creates(service: TogetherService) -> list[Any]:
    return [request for request in service.requests if request.route == CREATE]


# Files.


def test_an_upload_goes_through_a_redirect_and_is_processed_look_by_look(
    client: Together, service: TogetherService, upload: Any
) -> None:
    file_id = upload(waits=False)
    seen = [client.files.retrieve(file_id) for _ in range(3)]
    assert [file.processing_status for file in seen] == ["QUEUED", "COMPLETED", "COMPLETED"]
    assert seen[-1].validation_report.dataset_format == "instruction"
    assert seen[-1].validation_report.nlines == 40
    routes = [(request.route, request.status) for request in service.requests[:3]]
    assert routes == [
        ("POST /v1/files", 302),
        (f"PUT /presigned/{file_id}", 200),
        (f"POST /v1/files/{file_id}/preprocess", 200),
    ]
    assert not service.requests[1].has_key


def test_the_same_content_is_a_duplicate_and_only_a_whole_one(
    client: Together, service: TogetherService, upload: Any, tmp_path: Path
) -> None:
    with service.failing("half_upload", on="PUT *"), pytest.raises(httpx.TransportError):
        upload(name="first.jsonl")
    first = upload(name="second.jsonl")
    assert upload(name="third.jsonl") == first
    with pytest.raises(Exception, match=first):
        client.files.upload(tmp_path / "third.jsonl", purpose="fine-tune", raise_if_already_exists=True)
    assert [file.content is None for file in service.files] == [True, False]


def test_a_file_whose_uploader_died_after_the_put_is_processed(
    client: Together, service: TogetherService, upload: Any
) -> None:
    with service.failing("503", on="POST /v1/files/*/preprocess"), pytest.raises(together.InternalServerError):
        upload()
    assert client.files.retrieve(upload()).processing_status == "COMPLETED"
    assert len(list(service.files)) == 1


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"prompt": "a", "completion": "b"}, {"foo": 1}], "line 2: expected exactly one format"),
        ([{"prompt": "a", "completion": "b", "text": "c"}], "line 1: expected exactly one format"),
        (
            [{"text": "a"}, {"prompt": "a", "completion": "b"}],
            "line 2: format 'instruction' in a file of format 'general'",
        ),
        ([{"messages": [{"role": "assistant", "content": "a"}]}], "the first message must be"),
        ([{"messages": [{"role": "user", "content": "a"}] * 2}], "take turns"),
        ([{"messages": [{"role": "judge", "content": "a"}]}], "unknown role 'judge'"),
        (
            [{"input": {"messages": [{}]}, "preferred_output": [], "non_preferred_output": []}],
            "'preferred_output' must be exactly one",
        ),
        ([{"prompt": "a", "completion": 1}], "'completion' is no text"),
    ],
)
def test_a_file_that_the_service_can_not_use_says_why(client: Together, upload: Any, rows: Any, says: str) -> None:
    file = client.files.retrieve(upload(rows))
    assert file.processing_status == "INVALID_FORMAT"
    assert says in file.validation_report.error


def test_a_scenario_rejects_or_loses_a_sound_file(client: Together, service: TogetherService, upload: Any) -> None:
    service.scenario = "rejects_the_file"
    assert client.files.retrieve(upload()).processing_status == "INVALID_FORMAT"
    service.scenario = "fails_to_process_the_file"
    assert client.files.retrieve(upload('{"text": "other"}\n')).processing_status == "FAILED"


def test_files_are_listed_read_and_deleted(client: Together, upload: Any) -> None:
    file_id = upload('{"text": "hello"}\n')
    assert [file.id for file in client.files.list().data] == [file_id]
    assert client.files.content(file_id).read() == b'{"text": "hello"}\n'
    assert client.files.delete(file_id).deleted
    with pytest.raises(together.NotFoundError):
        client.files.retrieve(file_id)


def test_a_parquet_file_needs_the_right_columns(client: Together, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for columns, status in (
        ({"input_ids": [[1, 2]], "attention_mask": [[1, 1]]}, "COMPLETED"),
        ({"input_ids": [[1, 2, 3]]}, "INVALID_FORMAT"),
    ):
        path = tmp_path / "rows.parquet"
        parquet.write_table(pyarrow.table(columns), path)
        file_id = client.files.upload(path, purpose="fine-tune", check=False).id
        assert [client.files.retrieve(file_id).processing_status for _ in range(2)][-1] == status


# Jobs.


def test_a_job_goes_through_all_stages_and_tells_what_happened(client: Together, start: Any, finish: Any) -> None:
    job_id = start(n_epochs=2, n_checkpoints=2, batch_size=8)
    assert finish(job_id) == ["queued", "running", "compressing", "uploading", "completed"]
    job = client.fine_tuning.retrieve(job_id)
    assert (job.steps_completed, job.total_steps, job.epochs_completed) == (10, 10, 2)
    assert job.x_model_output_name.startswith("tester/tiny-instruct-abc-")
    events = client.fine_tuning.list_events(job_id).data
    assert [event.type for event in events][:2] == ["job_pending", "job_start"]
    assert [event.step for event in events if event.type == "checkpoint_save"] == [5, 10]
    assert len({(event.created_at, event.type, event.step) for event in events}) == len(events)
    assert [event.created_at for event in events] == sorted(event.created_at for event in events)
    assert {row.step for row in client.fine_tuning.list_checkpoints(job_id).data} == {5, 10}


def test_losses_come_as_metrics_and_can_be_filtered(client: Together, start: Any, finish: Any, upload: Any) -> None:
    job_id = start(n_epochs=2, n_evals=2, batch_size=8, validation_file=upload('{"prompt": "a", "completion": "b"}\n'))
    finish(job_id)
    rows = client.fine_tuning.list_metrics(job_id).metrics
    training = [row for row in rows if "train/loss" in row]
    assert [row["train/global_step"] for row in training] == list(range(1, 11))
    assert [row["train/global_step"] for row in rows if "eval/loss" in row] == [5, 10]
    assert training[0]["train/loss"] > training[-1]["train/loss"]
    assert len(client.fine_tuning.list_metrics(job_id, global_step_from=9).metrics) == 3
    assert (
        len([row for row in client.fine_tuning.list_metrics(job_id, resolution=4).metrics if "train/loss" in row]) == 4
    )


def test_a_validation_file_without_evaluations_is_accepted_and_never_used(
    client: Together, start: Any, finish: Any, upload: Any
) -> None:
    job_id = start(validation_file=upload('{"prompt": "a", "completion": "b"}\n'), n_evals=0)
    finish(job_id)
    assert not [row for row in client.fine_tuning.list_metrics(job_id).metrics if "eval/loss" in row]


@pytest.mark.parametrize(
    ("scenario", "word", "event"), [("fails", "error", "job_error"), ("user_error", "user_error", "JOB_USER_ERROR")]
)
def test_a_job_that_fails_says_why_and_costs_nothing(
    client: Together, service: TogetherService, start: Any, finish: Any, scenario: str, word: str, event: str
) -> None:
    service.scenario = scenario
    job_id = start()
    assert finish(job_id)[-1] == word
    assert client.fine_tuning.retrieve(job_id).total_price == 0
    assert [each.type for each in client.fine_tuning.list_events(job_id).data][-2:] == [event, "refund"]


def test_a_restart_goes_on_under_a_new_id_with_the_same_suffix(
    client: Together, service: TogetherService, start: Any, finish: Any
) -> None:
    service.scenario = "restarts"
    job_id = start()
    assert finish(job_id)[-1] == "error"
    assert [event.type for event in client.fine_tuning.list_events(job_id).data][-2:] == ["job_restarted", "refund"]
    old, new = client.fine_tuning.list().data
    assert (old.id, old.suffix, old.total_price) == (job_id, "abc", 0)
    assert (new.suffix, new.status) == ("abc", "pending")
    assert finish(new.id)[-1] == "completed"
    assert len(creates(service)) == 1


def test_an_unknown_status_does_not_stop_the_training(
    client: Together, service: TogetherService, start: Any, finish: Any
) -> None:
    service.scenario = "unknown_state"
    job_id = start()
    assert finish(job_id) == ["queued", "running", "defragmenting", "compressing", "uploading", "completed"]
    assert "defragmentation" in [event.type for event in client.fine_tuning.list_events(job_id).data]


def test_a_job_that_hangs_can_still_be_cancelled(
    client: Together, service: TogetherService, start: Any, finish: Any
) -> None:
    service.scenario = "hangs"
    job_id = start(n_epochs=2, batch_size=8)
    assert {client.fine_tuning.retrieve(job_id).status for _ in range(20)} == {"queued", "running"}
    assert client.fine_tuning.cancel(job_id).status == "cancel_requested"
    assert client.fine_tuning.cancel(job_id).status == "cancel_requested"
    assert finish(job_id) == ["cancelled"]
    with pytest.raises(together.BadRequestError, match="can't be cancelled"):
        client.fine_tuning.cancel(job_id)


def test_a_cancelled_job_costs_nothing_before_its_first_step(
    client: Together, service: TogetherService, start: Any, finish: Any
) -> None:
    job_id = start()
    client.fine_tuning.cancel(job_id)
    assert finish(job_id) == ["cancelled"]
    assert client.fine_tuning.retrieve(job_id).total_price == 0
    service.scenario = "cancel_comes_too_late"
    job_id = start()
    client.fine_tuning.cancel(job_id)
    assert finish(job_id) == ["cancel_requested", "completed"]
    assert client.fine_tuning.retrieve(job_id).total_price == 4_000_000_000


def test_early_stopping_ends_a_job_that_asked_for_it(
    client: Together, service: TogetherService, start: Any, finish: Any, upload: Any
) -> None:
    service.scenario = "stops_early"
    validation = upload('{"prompt": "a", "completion": "b"}\n')
    job_id = start(n_epochs=2, batch_size=8, validation_file=validation, n_evals=5, early_stopping_enabled=True)
    assert finish(job_id)[-1] == "completed"
    job = client.fine_tuning.retrieve(job_id)
    assert (job.early_stopped, job.early_stopping_best_step, job.steps_completed) == (True, 4, 8)
    assert finish(start(n_epochs=2, validation_file=validation, n_evals=5))[-1] == "completed"
    assert client.fine_tuning.retrieve("ft-00000002").early_stopped is None


def test_events_can_be_doubled_and_out_of_order(
    client: Together, service: TogetherService, start: Any, finish: Any
) -> None:
    service.scenario = "doubles_events"
    job_id = start()
    finish(job_id)
    events = [(event.created_at, event.type) for event in client.fine_tuning.list_events(job_id).data]
    assert len(events) == 2 * len(set(events))
    assert events != sorted(events)


def test_two_creates_are_two_jobs_and_the_list_may_lag_behind(
    client: Together, service: TogetherService, start: Any, upload: Any
) -> None:
    service.scenario = "lists_late"
    file_id = upload()
    assert start(training_file=file_id) != start(training_file=file_id)
    assert [len(client.fine_tuning.list().data) for _ in range(3)] == [0, 0, 2]
    assert {job.suffix for job in client.fine_tuning.list().data} == {"abc"}


def test_a_job_moves_by_hand_where_the_test_says_so(
    upload: Any, start: Any, service: TogetherService, client: Together
) -> None:
    service.moves_on_look = False
    job_id = start()
    assert [client.fine_tuning.retrieve(job_id).status for _ in range(3)] == ["pending"] * 3
    assert service.move(job_id, 2).status == "running"


def test_a_job_can_go_on_from_a_checkpoint_and_be_deleted(
    client: Together, start: Any, finish: Any, upload: Any
) -> None:
    first = start(n_epochs=2, n_checkpoints=2, batch_size=8)
    more = {"training_file": upload(), "model": None}
    with pytest.raises(together.BadRequestError, match="is pending"):
        start(from_checkpoint=first, **more)
    finish(first)
    finish(start(from_checkpoint=f"{first}:5", **more))
    with pytest.raises(together.NotFoundError):
        start(from_checkpoint="ft-unknown", **more)
    assert first in client.fine_tuning.delete(first).message
    with pytest.raises(together.NotFoundError):
        client.fine_tuning.retrieve(first)


# Prices.


def test_an_estimate_needs_processed_files_and_has_a_minimum(
    client: Together, service: TogetherService, upload: Any
) -> None:
    asked = {"model": "example/tiny-instruct", "training_method": {"method": "sft", "train_on_inputs": "auto"}}
    file_id = upload(waits=False)
    early = client.fine_tuning.estimate_price(training_file=file_id, **asked)
    assert (early.estimation_available, early.unavailable_reason) == (False, "train_file_not_validated")
    late = client.fine_tuning.estimate_price(training_file=upload(), **asked)
    assert (late.estimation_available, late.estimated_total_price, late.allowed_to_proceed) == (True, 4.0, True)
    bad = client.fine_tuning.estimate_price(training_file=upload([{"foo": 1}]), **asked)
    assert bad.unavailable_reason == "train_file_invalid"


def test_a_price_is_tokens_times_rate_and_charged_in_nano_dollars(
    client: Together, start: Any, finish: Any, upload: Any
) -> None:
    rows = upload([{"prompt": "x" * 4_000_000, "completion": "y"}] * 5)
    estimate = client.fine_tuning.estimate_price(
        training_file=rows,
        model="example/tiny-instruct",
        n_epochs=10,
        training_method={"method": "sft", "train_on_inputs": "auto"},
    )
    tokens = estimate.estimated_train_token_count
    assert 50_000_000 < tokens < 50_001_000
    assert estimate.estimated_total_price == pytest.approx(tokens * 0.34 / 1e6)
    job_id = start(training_file=rows, n_epochs=10)
    finish(job_id)
    assert client.fine_tuning.retrieve(job_id).total_price / 1e9 == pytest.approx(estimate.estimated_total_price)


@pytest.mark.parametrize(
    ("scenario", "found"),
    [
        ("costs_too_much", {"estimated_total_price": 4000, "allowed_to_proceed": False}),
        ("may_not_proceed", {"estimated_total_price": 4, "allowed_to_proceed": False}),
        ("has_no_estimate", {"estimation_available": False, "unavailable_reason": "multimodal_dataset"}),
        (Scenario(omits_allowed=True), {"estimation_available": True, "allowed_to_proceed": None}),
    ],
)
def test_scenarios_of_the_price_are_told_and_bind_nobody(
    client: Together, service: TogetherService, upload: Any, start: Any, scenario: Any, found: dict[str, Any]
) -> None:
    service.scenario = scenario
    estimate = client.fine_tuning.estimate_price(
        training_file=upload(),
        model="example/tiny-instruct",
        training_method={"method": "sft", "train_on_inputs": "auto"},
    )
    assert {name: getattr(estimate, name) for name in found} == found
    assert start() in {job.id for job in service.jobs}


# Secrets, and the service itself.


def test_no_key_is_ever_recorded_or_shown(client: Together, service: TogetherService, start: Any) -> None:
    job_id = start(wandb_api_key="wandb-secret", hf_api_token="hf-secret")
    shown = [
        repr(service),
        repr(service.requests),
        client.fine_tuning.retrieve(job_id).to_json(),
        json.dumps(client.fine_tuning.list().to_dict(), default=str),
    ]
    assert not [secret for secret in (service.key, "wandb-secret", "hf-secret") if secret in "".join(shown)]
    assert creates(service)[0].json["wandb_key"] == "***"
    assert creates(service)[0].has_key


def test_a_wrong_key_is_refused_and_noted(service: TogetherService) -> None:
    http = together.DefaultHttpxClient(trust_env=False, verify=False)
    client = together.Together(api_key="wrong", base_url=service.base_url, max_retries=0, http_client=http)
    with client, pytest.raises(together.AuthenticationError):
        client.fine_tuning.list()
    assert (service.requests[-1].status, service.requests[-1].has_key) == (401, False)


def test_an_unknown_scenario_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'restarts'"):
        TogetherService("restart")


def test_every_scenario_comes_to_the_end_that_it_tells(
    upload: Callable[..., str], start: Any, service: TogetherService
) -> None:
    file_id = upload()
    for name, scenario in SCENARIOS.items():
        service.scenario = scenario.replace(wire=())
        job = service.move(start(training_file=file_id) if not scenario.file_status else start(), 30)
        expected = "running" if scenario.hangs else "error" if scenario.restarts else scenario.ending
        assert job.status == expected, name
