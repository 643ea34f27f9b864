"""The service's own price: asked for before a run, kept with it, and held against what it cost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from typer.testing import CliRunner

from ftsdk import (
    BackendError,
    BudgetExceededError,
    CredentialsError,
    Dataset,
    DatasetError,
    FineTuneJob,
    LoRA,
    Run,
    UnsupportedSpecError,
    runs,
)
from ftsdk.backends.together.pricing import read_quote
from ftsdk.cli.app import app
from ftsdk.protocol import CanQuote
from ftsdk.protocol.estimates import QUOTED_LATER
from ftsdk.testing.together import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ftsdk import Together
    from ftsdk.spec import JobSpec
    from ftsdk.testing.together import TogetherService

CREATE, UPLOAD, PRICE = "POST /v1/fine-tunes", "POST /v1/files", "POST /v1/fine-tunes/estimate-price"
ANSWER = {
    "estimation_available": True,
    "estimated_total_price": 7.5,
    "allowed_to_proceed": True,
    "user_limit": 100.0,
    "estimated_train_token_count": 1000.0,
    "estimated_eval_token_count": 24.0,
}


@pytest.fixture
def make_job(make_backend: Callable[..., Together]) -> Callable[..., FineTuneJob]:
    def make_job(**changes: Any) -> FineTuneJob:
        rows = Dataset.from_rows([{"q": f"question {i}", "a": "yes"} for i in range(16)]).as_chat(
            prompt="{q}", completion="{a}"
        )
        return FineTuneJob(**{"model": "Qwen/Qwen3.5-9B", "train": rows, "backend": make_backend(), **changes})

    return make_job


def routes(service: TogetherService) -> list[str]:
    return [request.route for request in service.requests]


def test_the_service_s_price_replaces_ours_which_becomes_a_note(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    service.scenario = Scenario(price_factor=2)
    job = make_job()
    ours, found = job.estimate(), job.estimate(live=True)
    assert ours.cost is not None
    assert found.cost is not None
    assert (found.cost.low, found.cost.likely, found.cost.high) == (8, 8, 8)
    assert found.cost.source == "Together's own estimate, 2026-11-18"
    assert [(line.amount.likely, line.source) for line in found.cost_lines] == [(8.0, found.cost.source)]
    assert found.billing_terms is not None
    assert (found.billing_terms.kind, found.billing_terms.usd, found.billing_terms.fixed_usd) == ("per_share", 8, 4)
    assert QUOTED_LATER in ours.notes
    assert QUOTED_LATER not in found.notes
    (said,) = [note for note in found.notes if "our own estimate" in note]
    assert f"${ours.cost.likely:.2f}" in said
    assert ours.cost.source in said
    assert found.tokens == ours.tokens
    assert found.billed_tokens is not None
    assert found.billed_tokens.low == found.billed_tokens.high != 0


def test_asking_creates_nothing_and_a_submit_afterwards_uploads_nothing(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    job = make_job()
    job.estimate(live=True)
    assert len(service.jobs) == 0
    assert CREATE not in routes(service)
    assert routes(service).count(UPLOAD) == 1
    job.estimate(live=True)
    job.submit()
    assert routes(service).count(UPLOAD) == 1
    assert len(service.jobs) == 1


def test_asking_leaves_no_copy_of_the_data_and_no_run_behind(
    service: TogetherService, make_job: Callable[..., FineTuneJob], ftsdk_home: Path
) -> None:
    make_job().estimate(live=True)
    assert not list((ftsdk_home / "together").rglob("*.jsonl"))
    assert not (ftsdk_home / "runs").exists()
    assert len(runs(refresh=False)) == 0


def test_without_live_nothing_is_sent(service: TogetherService, make_job: Callable[..., FineTuneJob]) -> None:
    make_job().estimate()
    assert not service.requests


def test_a_price_over_the_budget_is_still_a_price(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    service.scenario = Scenario(price_factor=10)
    found = make_job(budget_usd=20).estimate(live=True)
    assert found.cost is not None
    assert found.cost.likely == 40


def test_a_price_that_the_account_may_not_spend_is_given_with_a_warning(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    service.scenario = "may_not_proceed"
    found = make_job().estimate(live=True)
    assert found.cost is not None
    assert found.cost.likely == 4
    assert any("may not spend $4.00 (its limit is $0.0)" in note for note in found.notes)


def test_limits_are_asked_before_anything_is_uploaded(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    service.models["Qwen/Qwen3.5-9B"] = service.models["Qwen/Qwen3.5-9B"].replace(max_rank=8)
    with pytest.raises(UnsupportedSpecError, match=r"tuning\.rank"):
        make_job(tuning=LoRA(rank=16)).estimate(live=True)
    assert UPLOAD not in routes(service)


def test_data_that_the_service_refuses_are_refused_in_its_words(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    service.scenario = "rejects_the_file"
    with pytest.raises(DatasetError, match=r"expected one of 'messages'"):
        make_job().estimate(live=True)


def test_a_missing_price_is_a_backend_error_and_not_a_budget_error(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    service.scenario = "has_no_estimate"
    with pytest.raises(BackendError, match="multimodal_dataset") as caught:
        make_job().estimate(live=True)
    assert not caught.value.retryable
    service.scenario = Scenario(unavailable_reason="train_file_not_validated")
    with pytest.raises(BackendError, match="Try again in a few minutes") as caught:
        make_job().estimate(live=True)
    assert caught.value.retryable


def test_a_refused_key_and_a_lost_answer_are_told_as_at_a_submit(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    with service.failing("401", on=PRICE), pytest.raises(CredentialsError):
        make_job().estimate(live=True)
    with service.failing("closed", on=PRICE), pytest.raises(BackendError) as caught:
        make_job().estimate(live=True)
    assert caught.value.retryable


@pytest.mark.parametrize("told", [None, "NaN", "Infinity", "soon", -1])
def test_what_is_no_price_is_not_taken_for_one(told: Any) -> None:
    with pytest.raises(BackendError, match="has no valid price"):
        read_quote({**ANSWER, "estimated_total_price": told}, minimum=Decimal(4), asked_at=0.0)


def test_the_minimum_is_applied_and_told_apart_from_what_the_service_said() -> None:
    quote = read_quote({**ANSWER, "estimated_total_price": 0.12}, minimum=Decimal(4), asked_at=0.0).quote
    assert quote.usd == 4
    assert "$0.12" in quote.notes[0]
    assert read_quote(ANSWER, minimum=Decimal(4), asked_at=0.0).quote.notes == ()


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({}, 1024),
        ({"estimated_eval_token_count": None}, 1000),
        ({"estimated_train_token_count": None}, None),
        ({"estimated_train_token_count": float("nan")}, None),
        ({"estimated_train_token_count": "many"}, None),
    ],
)
def test_tokens_are_taken_only_where_they_are_told(changes: dict[str, Any], tokens: int | None) -> None:
    assert read_quote({**ANSWER, **changes}, minimum=Decimal(4), asked_at=0.0).quote.tokens == tokens


def test_a_place_without_a_price_of_its_own_refuses_in_words(model_of_headers: Path) -> None:
    from ftsdk import Local

    rows = Dataset.from_rows([{"q": "a", "a": "b"}]).as_chat(prompt="{q}", completion="{a}")
    with pytest.raises(UnsupportedSpecError, match=r"'local'(.|\n)*live = True(.|\n)*offers no quote"):
        FineTuneJob(model=str(model_of_headers), train=rows, backend=Local(device="cpu")).estimate(live=True)


def test_together_can_quote_and_the_hosted_places_cannot(backend: Together) -> None:
    from ftsdk import Local, Modal

    assert isinstance(backend, CanQuote)
    assert not isinstance(Local(), CanQuote)
    assert not isinstance(Modal(), CanQuote)


def test_the_command_line_asks_where_it_is_told_to(
    service: TogetherService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_BASE_URL", service.base_url)
    (tmp_path / "mails.csv").write_text("text,label\n" + "".join(f"mail {n},{'ab'[n % 2]}\n" for n in range(40)))
    (tmp_path / "job.yaml").write_text(
        "model: Qwen/Qwen3.5-9B\nbackend: {name: together, options: {poll_s: 0}}\n"
        "train:\n  file: mails.csv\n  chat: {prompt: '{text}', completion: '{label}'}\n"
    )
    service.scenario = Scenario(price_factor=2)
    shown = CliRunner().invoke(app, ["estimate", str(tmp_path / "job.yaml"), "--live"])
    assert shown.exit_code == 0, shown.output
    assert "$8.00" in shown.stdout
    assert "Together's own estimate" in shown.stdout
    assert len(service.jobs) == 0


# Kept with the run.


def test_a_run_knows_what_the_service_said_and_what_we_said(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    service.scenario = Scenario(price_factor=3)
    job = make_job()
    run = job.submit()
    plan = Run.open(run.ref, backend=job.resolved_backend).plan
    assert plan.cost is not None
    assert plan.estimate is not None
    assert plan.cost == plan.estimate.cost
    assert (plan.cost.likely, plan.cost.source) == (12, "Together's own estimate, 2026-11-18")
    assert any("our own estimate" in note for note in plan.estimate.notes)
    assert plan.request == job.plan().request


def test_the_final_price_is_held_against_what_the_service_said(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    service.scenario = Scenario(price_factor=1.2345)
    run = make_job().submit().wait(progress=False, poll_s=0)
    (found,) = [one for one in run.costs().comparisons if one.quantity == "usd"]
    assert found.estimated.likely == pytest.approx(4 * 1.2345)
    assert found.actual == pytest.approx(4 * 1.2345)
    assert found.is_inside
    assert "$4.94" in str(run.costs())


def test_a_job_whose_price_is_just_the_budget_is_trained_to_its_end(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    run = make_job(budget_usd=4).submit().wait(progress=False, poll_s=0)
    assert run.status().state == "succeeded"
    assert run.status().price_usd == 4


def test_a_run_that_was_never_confirmed_has_our_estimate_only(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    job = make_job()
    with service.failing("closed", on=CREATE), pytest.raises(BackendError):
        job.submit()
    (listed,) = runs(refresh=False)
    assert listed.plan.cost == job.plan().cost


@pytest.mark.parametrize("is_found_by_cancelling", [False, True])
def test_a_run_whose_answer_was_lost_keeps_its_quote(
    is_found_by_cancelling: bool,
    service: TogetherService,
    make_job: Callable[..., FineTuneJob],
    make_backend: Callable[..., Together],
    clock: Any,
) -> None:
    service.scenario = Scenario(hidden_lists=6, price_factor=2)
    with service.failing("closed_after", on=CREATE, times=1), pytest.raises(BackendError, match="looks for it again"):
        make_job().submit()
    clock.now += 301
    service.scenario = Scenario(price_factor=5)
    (listed,) = runs(refresh=False)
    run = Run.open(listed.ref, backend=make_backend())
    if is_found_by_cancelling:
        run.cancel(wait_s=5, sleep=clock.sleep, clock=clock)
    else:
        run.resume()
    assert len(service.jobs) == 1
    cost = Run.open(listed.ref, backend=make_backend()).plan.cost
    assert cost is not None
    assert cost.likely == 8


def test_the_same_key_again_has_the_same_price_without_asking(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec], clock: Any
) -> None:
    plan = backend.plan(make_spec())
    first = backend.submit(plan, key="k")
    asked = routes(service).count(PRICE)
    service.scenario = Scenario(price_factor=9)
    clock.now += 86_400
    again = backend.submit(plan, key="k")
    assert again.native == first.native
    assert Decimal(again.native["quoted_usd"]) == 4
    assert backend.find(plan, key="k") == again
    assert routes(service).count(PRICE) == asked


def test_a_run_that_is_followed_from_another_machine_keeps_its_price(
    service: TogetherService,
    backend: Together,
    make_spec: Callable[..., JobSpec],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    plan = backend.plan(make_spec())
    ref = backend.submit(plan, key="k")
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path / "elsewhere"))
    backend.status(ref)
    found = backend.find(plan, key="k")
    assert found is not None
    assert found.native["quoted_usd"] == ref.native["quoted_usd"]


def test_a_price_over_the_budget_is_refused_at_submit_as_ever(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    service.scenario = Scenario(price_factor=10)
    job = make_job(budget_usd=20)
    job.estimate(live=True)
    with pytest.raises(BudgetExceededError, match="more than budget_usd=20"):
        job.submit()
    assert len(service.jobs) == 0
