"""From a plan to exactly one job, with the real client against a service on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from decimal import Decimal

from pydantic import SecretStr

from ftsdk import Dataset, LoRA, Model, Together
from ftsdk.backends.managed.quotes import check_quote
from ftsdk.backends.together.pricing import read_quote
from ftsdk.data import Store
from ftsdk.errors import (
    BackendError,
    BudgetExceededError,
    CredentialsError,
    DatasetError,
    RunNotFoundError,
    SpecError,
    UnsupportedSpecError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ftsdk.spec import JobSpec
    from ftsdk.testing.together import TogetherService

CREATE, LIST, UPLOAD = "POST /v1/fine-tunes", "GET /v1/fine-tunes", "POST /v1/files"


def count(service: TogetherService, route: str) -> int:
    return sum(request.route == route for request in service.requests)


def test_what_is_sent_is_what_was_planned(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    plan = backend.plan(make_spec(validation=True, tuning=LoRA(rank=8, alpha=4.0), seed=7))
    ref = backend.submit(plan, key="k")
    (sent,) = [request.json for request in service.requests if request.route == CREATE]
    planned = plan.request["create"]
    assert sent["training_type"] == {
        "type": "Lora",
        "lora_r": 8,
        "lora_alpha": 4,
        "lora_dropout": 0.05,
        "lora_trainable_modules": "all-linear",
    }
    assert sent["training_method"] == {"method": "sft", "train_on_inputs": False}
    same = (
        "model",
        "n_epochs",
        "packing",
        "batch_size",
        "gradient_accumulation_steps",
        "learning_rate",
        "warmup_ratio",
        "n_evals",
        "random_seed",
    )
    assert {name: sent[name] for name in same} == {name: planned[name] for name in same}
    assert sent["suffix"] == ref.native["suffix"]
    names = {file.id: file.filename for file in service.files}
    assert names[sent["training_file"]] != names[sent["validation_file"]]


def test_the_rows_arrive_as_they_were_rendered(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    spec = make_spec()
    backend.submit(backend.plan(spec), key="k")
    (file,) = service.files
    rows = [json.loads(line) for line in (file.content or b"").splitlines()]
    stored = Store().load(spec.train)
    assert [row["messages"] for row in rows] == [row["messages"] for row in stored]


def test_rows_that_use_what_the_model_is_not_tuned_with_are_not_uploaded(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    thoughts = Dataset.from_rows(
        [
            {
                "messages": [
                    {"role": "user", "content": f"{n}?"},
                    {"role": "assistant", "content": "yes", "reasoning_content": "Hm."},
                ]
            }
            for n in range(16)
        ]
    )
    Store().put(thoughts)
    spec = make_spec().replace(train=thoughts.ref())
    with pytest.raises(DatasetError, match=r"the rows use reasoning, and Together doesn't tune .* with reasoning"):
        backend.submit(backend.plan(spec), key="k")
    assert not list(service.files)


def test_the_same_content_is_uploaded_once(
    service: TogetherService, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec], ftsdk_home: Path
) -> None:
    spec = make_spec()
    for number in range(2):
        backend = make_backend()
        backend.submit(backend.plan(spec), key=f"k{number}")
    assert count(service, UPLOAD) == 1
    # Without the note of its id, it is found by its name in the list.
    for note in (ftsdk_home / "together").rglob("*.json"):
        note.unlink()
    backend.submit(backend.plan(spec), key="k3")
    assert count(service, UPLOAD) == 1
    assert len(service.jobs) == 3


def test_a_file_that_the_service_has_lost_is_uploaded_again(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    spec = make_spec()
    backend.submit(backend.plan(spec), key="k1")
    (file,) = service.files
    service.files.delete(file.id)
    backend.submit(backend.plan(spec), key="k2")
    assert count(service, UPLOAD) == 2


def test_a_dropped_upload_is_sent_again_by_the_next_submit(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = "drops_the_upload"
    plan = backend.plan(make_spec())
    with pytest.raises(BackendError) as caught:
        backend.submit(plan, key="k")
    assert caught.value.retryable
    assert len(service.jobs) == 0
    backend.submit(plan, key="k")
    assert len(service.jobs) == 1


@pytest.mark.parametrize("scenario", ["loses_the_response_of_create", "fails_after_creating"])
def test_a_lost_answer_of_create_is_looked_up_and_not_sent_again(
    scenario: str, service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = scenario
    ref = backend.submit(backend.plan(make_spec()), key="k")
    (job,) = service.jobs
    assert ref.native["job"] == job.id
    assert count(service, CREATE) == 1


def test_a_job_that_is_listed_late_is_waited_for(
    service: TogetherService, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec], clock: Any
) -> None:
    """The looks in the same submit find nothing.

    Neither the next submit nor the one after sends again before the job would be listed.
    """
    from ftsdk.testing.together import Scenario

    service.scenario = Scenario(hidden_lists=9)
    backend = make_backend(settle_s=300)
    plan = backend.plan(make_spec())
    with (
        service.failing("closed_after", on=CREATE, times=1),
        pytest.raises(BackendError, match="looks for it again") as caught,
    ):
        backend.submit(plan, key="k")
    assert caught.value.retryable
    again = make_backend(settle_s=300)
    for _ in range(2):
        with pytest.raises(BackendError, match="To avoid paying twice") as caught:
            again.submit(plan, key="k")
        assert caught.value.retryable
        assert 0 < (caught.value.retry_after_s or 0) <= 300
    clock.now += 301
    ref = again.submit(plan, key="k")
    (job,) = service.jobs
    assert ref.native["job"] == job.id
    assert count(service, CREATE) == 1


def test_a_create_that_never_arrived_is_sent_once_it_is_certain(
    service: TogetherService, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec], clock: Any
) -> None:
    backend = make_backend(settle_s=300)
    plan = backend.plan(make_spec())
    with service.failing("closed", on=CREATE), pytest.raises(BackendError):
        backend.submit(plan, key="k")
    with pytest.raises(BackendError, match="isn't sent again for another"):
        backend.submit(plan, key="k")
    assert len(service.jobs) == 0
    clock.now += 301
    backend.submit(plan, key="k")
    backend.submit(plan, key="k")
    assert len(service.jobs) == 1


@pytest.mark.parametrize("code", ["400", "401", "402", "403", "422", "429"])
def test_a_create_that_was_refused_may_be_sent_again_at_once(
    code: Any, service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    plan = backend.plan(make_spec())
    with (
        service.failing(code, on=CREATE),
        pytest.raises((SpecError, CredentialsError, BudgetExceededError, BackendError)),
    ):
        backend.submit(plan, key="k")
    assert len(service.jobs) == 0
    backend.submit(plan, key="k")
    assert len(service.jobs) == 1


def test_the_client_never_repeats_a_create_by_itself(
    service: TogetherService, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec]
) -> None:
    backend = make_backend(max_retries=2)
    with service.failing("closed", on=CREATE), pytest.raises(BackendError):
        backend.submit(backend.plan(make_spec()), key="k")
    assert count(service, CREATE) == 1


def test_two_that_submit_the_same_key_at_once_make_one_job(
    service: TogetherService, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec]
) -> None:
    plan = make_backend().plan(make_spec())
    refs: list[Any] = []
    threads = [threading.Thread(target=lambda: refs.append(make_backend().submit(plan, key="k"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refs) == 4
    assert len({ref.native["job"] for ref in refs}) == 1
    assert len(service.jobs) == 1


_SUBMIT = """
import json, sys
from ftsdk import Together
from ftsdk.protocol import Plan
Together(base_url=sys.argv[1], max_retries=0, poll_s=0).submit(Plan.from_json(sys.stdin.read()), key="k")
"""


def test_a_process_killed_before_the_answer_has_created_one_job(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    plan = backend.plan(make_spec())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with service.failing("late", on=CREATE, delay_s=60):
        child = subprocess.Popen(
            [sys.executable, "-c", _SUBMIT, service.base_url], stdin=subprocess.PIPE, text=True, env=environment
        )
        with child:
            assert child.stdin is not None
            child.stdin.write(plan.to_json())
            child.stdin.close()
            deadline = time.monotonic() + 60
            while not len(service.jobs) and child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            child.kill()
    (job,) = service.jobs
    assert backend.submit(plan, key="k").native["job"] == job.id
    assert len(service.jobs) == 1


def test_a_run_whose_folder_is_gone_is_found_by_its_suffix(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec], ftsdk_home: Path
) -> None:
    import shutil

    plan = backend.plan(make_spec())
    first = backend.submit(plan, key="k")
    shutil.rmtree(ftsdk_home / "runs")
    again = backend.submit(plan, key="k")
    # What the job was said to cost was in the folder, and nobody asks again for the price of a job that is there.
    assert again.native == {name: first.native[name] for name in ("job", "suffix")}
    assert len(service.jobs) == 1


def test_a_key_names_one_request_only(backend: Together, make_spec: Callable[..., JobSpec]) -> None:
    backend.submit(backend.plan(make_spec()), key="k")
    with pytest.raises(BackendError, match="one run only"):
        backend.submit(backend.plan(make_spec(seed=7)), key="k")


@pytest.mark.parametrize("key", ["../k", "", "a/b", "k" * 81])
def test_keys_that_lead_out_of_the_home_are_refused(
    key: str, service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    plan = backend.plan(make_spec())
    with pytest.raises(SpecError, match="can't be the name of a folder"):
        backend.submit(plan, key=key)
    assert not service.requests


# What is refused before anything is created.


def test_the_services_limits_are_asked_before_anything_is_uploaded(
    service: TogetherService, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec]
) -> None:
    service.models["Qwen/Qwen3.5-9B"] = service.models["Qwen/Qwen3.5-9B"].replace(max_rank=8)
    backend = make_backend()
    with pytest.raises(UnsupportedSpecError, match=r"tuning\.rank = 16; offered: 8"):
        backend.submit(backend.plan(make_spec()), key="k")
    assert count(service, UPLOAD) == 0


def test_a_model_that_is_no_longer_tuned_is_refused_as_by_the_plan(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    del service.models["Qwen/Qwen3.5-9B"]
    with pytest.raises(UnsupportedSpecError, match="doesn't tune") as caught:
        backend.submit(backend.plan(make_spec()), key="k")
    (gap,) = caught.value.gaps
    assert gap.field == "model"
    assert gap.offered
    assert "Qwen/Qwen3.5-9B" not in gap.offered
    assert count(service, UPLOAD) == 0


@pytest.mark.parametrize(
    ("scenario", "budget", "says"),
    [
        ("costs_too_much", 50, "more than budget_usd=50"),
        ("may_not_proceed", None, "account may not spend"),
        ("has_no_estimate", None, "multimodal_dataset"),
        ("payment_required", None, "can't pay"),
    ],
)
def test_a_job_that_is_too_dear_is_not_created(
    scenario: str,
    budget: float | None,
    says: str,
    service: TogetherService,
    backend: Together,
    make_spec: Callable[..., JobSpec],
) -> None:
    service.scenario = scenario
    with pytest.raises(BudgetExceededError, match=says):
        backend.submit(backend.plan(make_spec(budget_usd=budget)), key="k")
    assert len(service.jobs) == 0


ESTIMATE = {"estimation_available": True, "estimated_total_price": 3.5, "allowed_to_proceed": True, "user_limit": 100.0}


def test_the_minimum_counts_where_the_estimate_is_below_it() -> None:
    quote = check_quote(lambda: read_quote(ESTIMATE, minimum=Decimal(4), asked_at=0.0), budget_usd=Decimal(4))
    assert quote is not None
    assert quote.usd == 4
    with pytest.raises(BudgetExceededError, match=r"\$6.00"):
        check_quote(lambda: read_quote(ESTIMATE, minimum=Decimal(6), asked_at=0.0), budget_usd=Decimal(5))


@pytest.mark.parametrize(
    "answer",
    [
        {**ESTIMATE, "allowed_to_proceed": None},
        {name: value for name, value in ESTIMATE.items() if name != "allowed_to_proceed"},
        {name: value for name, value in ESTIMATE.items() if name != "estimated_total_price"},
        {**ESTIMATE, "estimated_total_price": "NaN"},
        {**ESTIMATE, "estimated_total_price": None},
        {"estimation_available": False, "unavailable_reason": "train_file_not_validated"},
        {"estimation_available": False},
        {},
    ],
)
def test_what_the_service_does_not_say_is_a_no(answer: dict[str, Any]) -> None:
    with pytest.raises(BudgetExceededError):
        check_quote(lambda: read_quote(answer, minimum=Decimal(4), asked_at=0.0), budget_usd=None)


def test_a_file_that_the_service_rejects_says_its_words(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = "rejects_the_file"
    with pytest.raises(DatasetError, match=r"expected one of 'messages'.*job\.preview\(\)"):
        backend.submit(backend.plan(make_spec()), key="k")
    assert len(service.jobs) == 0


def test_a_file_that_the_service_cannot_check_may_be_submitted_again(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = "fails_to_process_the_file"
    with pytest.raises(BackendError) as caught:
        backend.submit(backend.plan(make_spec()), key="k")
    assert caught.value.retryable


def test_the_check_of_a_file_is_waited_for_with_pauses(
    service: TogetherService, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec], clock: Any
) -> None:
    from ftsdk.testing.together import Scenario

    service.scenario = Scenario(file_polls=5)
    backend = make_backend(poll_s=3)
    backend.submit(backend.plan(make_spec()), key="k")
    assert clock.slept == [3.0] * 4


# The key and the address.


def test_without_a_key_nothing_is_sent_and_the_error_says_where_it_belongs(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY")
    plan = backend.plan(make_spec())
    with pytest.raises(CredentialsError, match="TOGETHER_API_KEY"):
        backend.submit(plan, key="k")
    assert not service.requests


def test_a_key_can_be_given_and_is_in_no_text_of_the_backend(
    service: TogetherService,
    make_backend: Callable[..., Together],
    make_spec: Callable[..., JobSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY")
    backend = make_backend(api_key=SecretStr(service.key))
    backend.submit(backend.plan(make_spec()), key="k")
    assert len(service.jobs) == 1
    assert service.key not in f"{backend!r} {backend} {dict(backend.options)} {vars(backend)}"


def test_a_wrong_key_is_refused_as_a_key_also_by_an_upload(
    service: TogetherService, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec]
) -> None:
    backend = make_backend()
    plan = backend.plan(make_spec())
    with service.failing("401", on=UPLOAD), pytest.raises(CredentialsError) as caught:
        backend.submit(plan, key="k")
    assert "trial" not in str(caught.value)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_an_address_may_end_in_v1(ending: str, service: TogetherService, make_backend: Callable[..., Together]) -> None:
    backend = make_backend(base_url=service.base_url + ending)
    assert backend.options["base_url"] == service.base_url


def test_an_address_of_the_environment_may_end_in_v1_too(
    service: TogetherService,
    make_backend: Callable[..., Together],
    make_spec: Callable[..., JobSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOGETHER_BASE_URL", f"{service.base_url}/v1")
    backend = make_backend(base_url=None)
    backend.submit(backend.plan(make_spec()), key="k")
    assert len(service.jobs) == 1


def test_an_address_with_a_password_is_refused() -> None:
    with pytest.raises(SpecError, match="no password") as caught:
        Together(base_url="https://me:hush@example.com")
    assert "hush" not in str(caught.value)


def test_a_run_of_another_machine_is_followed_by_its_ref_alone(
    service: TogetherService,
    backend: Together,
    make_spec: Callable[..., JobSpec],
    ftsdk_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    ref = backend.submit(backend.plan(make_spec()), key="k")
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path / "elsewhere"))
    while not backend.status(ref).is_terminal:
        pass
    artifact = backend.collect(ref, tmp_path / "artifact")
    assert (artifact.kind, artifact.base) == ("adapter", "Qwen/Qwen3.5-9B")
    with pytest.raises(RunNotFoundError):
        backend.status(type(ref)(backend="together", id="k2"))


def test_a_name_of_the_job_makes_the_suffix_readable(backend: Together, make_spec: Callable[..., JobSpec]) -> None:
    ref = backend.submit(backend.plan(make_spec(name="Support.Emails")), key="k")
    assert ref.native["suffix"].startswith("support-emails-")


def test_a_model_that_only_the_user_knows_is_tuned(
    service: TogetherService, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec]
) -> None:
    backend = make_backend(models={"me/mine": "example/tiny-instruct"})
    backend.submit(backend.plan(make_spec(model=Model(id="me/mine"))), key="k")
    (job,) = service.jobs
    assert job.body["model"] == "example/tiny-instruct"
