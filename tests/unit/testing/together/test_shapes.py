"""The answers of the stand-in for Together have the shapes that the real client declares.

And it stands many at once.
"""

# The client declares every field of an answer as optional, and some not at all.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportOptionalIterable=false, reportOptionalOperand=false, reportOperatorIssue=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from ftsdk.testing.together import TogetherService

together = pytest.importorskip("together", reason="the extra 'together' isn't installed")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from together import Together

SFT = {"method": "sft", "train_on_inputs": "auto"}


@pytest.fixture
def strict(service: TogetherService) -> Iterator[Together]:
    """The real client, refusing every answer that isn't as it declares."""
    http = together.DefaultHttpxClient(trust_env=False, verify=False)
    with together.Together(
        api_key=service.key,
        base_url=service.base_url,
        max_retries=0,
        http_client=http,
        project_id=service.project_id,
        _strict_response_validation=True,
    ) as client:
        yield client


def test_a_strict_client_accepts_all_answers_about_tuning(
    strict: Together, start: Any, finish: Any, upload: Any, service: TogetherService
) -> None:
    job_id = start(
        n_epochs=2,
        n_evals=4,
        early_stopping_enabled=True,
        validation_file=upload('{"prompt": "a", "completion": "b"}\n'),
    )
    assert strict.fine_tuning.retrieve(job_id).status == "queued"
    finish(job_id)
    tuning = strict.fine_tuning
    assert tuning.retrieve(job_id).events
    assert tuning.list().data[0].suffix == "abc"
    assert tuning.list_events(job_id).data
    assert tuning.list_checkpoints(job_id).data
    assert tuning.list_metrics(job_id).metrics
    assert tuning.model_limits(model_name="example/tiny-instruct").supports_full_training
    assert tuning.estimate_price(
        training_file="file-00000001", model="example/tiny-instruct", training_method=SFT
    ).estimation_available
    assert tuning.cancel(start()).status == "cancel_requested"
    assert strict.files.retrieve("file-00000001").validation_report.valid
    assert len(strict.files.list().data) == 2
    # What is known of the real service, and not declared by the class of this answer, is there all the same.
    assert tuning.retrieve(job_id).steps_completed == 4
    assert not hasattr(tuning.retrieve(job_id), "suffix")


def test_a_strict_client_refuses_a_word_that_it_does_not_declare(
    strict: Together, service: TogetherService, start: Any
) -> None:
    service.scenario = "user_error"
    service.move(start(), 9)
    with pytest.raises(together.APIResponseValidationError):
        strict.fine_tuning.list()


def test_a_strict_client_accepts_all_answers_about_serving(
    strict: Together, start: Any, finish: Any, client: Together
) -> None:
    job_id = start()
    finish(job_id)
    model = f"projects/{strict.project_id}/models/{strict.fine_tuning.retrieve(job_id).api_model_object_id}"
    config = strict.models.configs.list(reference_model=model).data[0]
    assert strict.models.configs.retrieve(config.id).selectors
    assert strict.models.list().data
    assert strict.models.retrieve(model.rpartition("/")[2]).base_model
    assert strict.models.list_supported().data[0].deployment_profiles
    assert strict.endpoints.hardware.list().data
    assert strict.whoami().type == "project_api_key"
    endpoint = strict.endpoints.create(name="mine")
    deployment = strict.endpoints.deployments.create(
        endpoint.id,
        name="first",
        model=model,
        config=f"projects/{config.project_id}/configs/{config.id}",
        autoscaling={"min_replicas": 1, "max_replicas": 1},
    )
    assert strict.endpoints.deployments.list(endpoint.id).data[0].id == deployment.id
    for _ in range(2):
        strict.endpoints.deployments.retrieve(deployment.id, endpoint_id=endpoint.id)
    strict.endpoints.update(endpoint.id, traffic_split=[{"deployment_id": deployment.id, "weight": 1}])
    assert strict.endpoints.retrieve(endpoint.id).traffic_split[0].weight == 1
    assert (
        strict.chat.completions.create(model=endpoint.name, messages=[{"role": "user", "content": "hi"}])
        .choices[0]
        .message.content
        == "hi"
    )
    strict.endpoints.deployments.update(
        deployment.id, endpoint_id=endpoint.id, autoscaling={"min_replicas": 0, "max_replicas": 0}
    )


def test_jobs_that_are_started_at_once_are_all_there_once(
    client: Together, service: TogetherService, upload: Any, start: Any
) -> None:
    file_id = upload()
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda number: start(training_file=file_id, suffix=f"at-once-{number}"), range(16)))
    assert len(set(ids)) == 16
    assert {job.id: job.suffix for job in client.fine_tuning.list().data} == {
        job_id: f"at-once-{number}" for number, job_id in enumerate(ids)
    }
    assert sum(request.route == "POST /v1/fine-tunes" for request in service.requests) == 16


def test_the_asynchronous_client_comes_as_far(service: TogetherService, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"row {number}"}) + "\n" for number in range(9)))

    async def walk() -> str:
        http = together.DefaultAsyncHttpxClient(trust_env=False, verify=False)
        async with together.AsyncTogether(
            api_key=service.key, base_url=service.base_url, max_retries=0, http_client=http
        ) as client:
            file = await client.files.upload(path, purpose="fine-tune")
            while (await client.files.retrieve(file.id)).processing_status != "COMPLETED":
                pass
            job = await client.fine_tuning.create(
                training_file=file.id, model="example/tiny-instruct", train_on_inputs="auto"
            )
            for _ in range(20):
                status = (await client.fine_tuning.retrieve(job.id)).status
            return status

    assert asyncio.run(walk()) == "completed"
    assert service.requests[-1].headers["x-stainless-async"].startswith("async")
