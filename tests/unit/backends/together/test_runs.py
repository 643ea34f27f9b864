"""A run at the service that never got as far as a job: what the ledger says of it, and what giving it up does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from ftsdk import BackendError, BudgetExceededError, Dataset, FineTuneJob, Run, RunFailedError, runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftsdk import Together
    from ftsdk.testing.together import TogetherService

CREATE = "POST /v1/fine-tunes"


@pytest.fixture
def make_job(make_backend: Callable[..., Together]) -> Callable[..., FineTuneJob]:
    def make_job(**options: Any) -> FineTuneJob:
        rows = Dataset.from_rows([{"q": f"question {i}", "a": "yes"} for i in range(16)]).as_chat(
            prompt="{q}", completion="{a}"
        )
        return FineTuneJob(model="Qwen/Qwen3.5-9B", train=rows, budget_usd=50, backend=make_backend(**options))

    return make_job


def test_a_refused_run_is_over_and_never_creates_a_job(
    service: TogetherService, make_job: Callable[..., FineTuneJob]
) -> None:
    job = make_job()
    service.scenario = "costs_too_much"
    with pytest.raises(BudgetExceededError, match="more than budget_usd=50"):
        job.submit()
    service.scenario = "succeeds"
    (listed,) = runs(refresh=False)
    assert listed.last_seen_state == "failed"
    run = Run.open(listed.ref, backend=job.resolved_backend)
    assert run.status().native == "refused"
    assert "more than budget_usd=50" in run.status().reason
    assert run.resume() is False
    assert run.cancel().state == "failed"
    with pytest.raises(RunFailedError, match=r"refused: .* more than budget_usd=50"):
        run.wait(progress=False)
    assert len(service.jobs) == 0


def test_cancelling_a_run_whose_job_never_came_to_be_makes_none(
    service: TogetherService, make_job: Callable[..., FineTuneJob], clock: Any
) -> None:
    job = make_job(settle_s=300)
    with service.failing("closed", on=CREATE), pytest.raises(BackendError, match="looks for it again"):
        job.submit()
    (listed,) = runs(refresh=False)
    run = Run.open(listed.ref, backend=job.resolved_backend)
    assert run.status().native == "intended"
    # Until the job could no longer appear in the service's list, nobody can say that there is none.
    with pytest.raises(BackendError) as caught:
        run.cancel()
    assert caught.value.retryable
    clock.now += 301
    status = run.cancel()
    assert (status.state, status.native) == ("cancelled", "never started")
    assert Run.open(listed.ref, backend=job.resolved_backend).status() == status
    assert len(service.jobs) == 0
    assert sum(request.route == CREATE for request in service.requests) == 1


def test_cancelling_a_run_whose_answer_was_lost_cancels_its_one_job(
    service: TogetherService, make_job: Callable[..., FineTuneJob], clock: Any
) -> None:
    from ftsdk.testing.together import Scenario

    job = make_job(settle_s=300)
    service.scenario = Scenario(hidden_lists=6)
    with service.failing("closed_after", on=CREATE, times=1), pytest.raises(BackendError, match="looks for it again"):
        job.submit()
    (listed,) = runs(refresh=False)
    clock.now += 301
    run = Run.open(listed.ref, backend=job.resolved_backend)
    status = run.cancel(wait_s=5, sleep=clock.sleep, clock=clock)
    assert status.state == "cancelled"
    (made,) = service.jobs
    assert made.status == "cancelled"
    assert sum(request.route == CREATE for request in service.requests) == 1
