"""A budget that nobody watches: the worker counts what it costs, over all its attempts, and stops."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from forked_workers import ForkedLocal

from ftsdk import BudgetExceededError, FineTuneJob, Local, Run
from ftsdk.backends.hosted.checkpoints import newest_whole
from ftsdk.job.submitting import store_data
from ftsdk.protocol import Backend, CheckpointEvent, StateEvent, StepEvent
from ftsdk.run.budget import BudgetWatch
from ftsdk.run.ledger import Ledger, Record
from ftsdk.run.submission import submit
from ftsdk.runfolder import lock

pytestmark = pytest.mark.e2e
MakeJob = Callable[..., FineTuneJob]
LONG = {"max_steps": 5000, "epochs": 1000, "checkpoint_steps": 5}
A_DOLLAR_A_SECOND = 3600


def submitted(job: FineTuneJob, backend: Backend, *, budget_usd: float, key: str = "a-run") -> Run:
    """A run that its estimate would have refused: it takes longer than its budget pays for, on purpose."""
    estimated = job.replace(backend=backend).plan()
    store_data(job)
    plan = backend.plan(job.spec().replace(budget_usd=budget_usd)).replace(estimate=estimated.estimate)
    ledger = Ledger()
    record = ledger.intend(
        Record(ref=f"{backend.name}:{key}", name=None, plan=plan.to_dict(), options=dict(backend.options))
    )
    return Run(submit(record, plan, backend, ledger), backend, ledger=ledger)


def over(run: Run, *, timeout_s: float = 1500) -> None:
    """Look now and then, and do nothing about it: no `wait`, no watch."""
    deadline = time.monotonic() + timeout_s
    while not run.status().is_terminal:
        assert time.monotonic() < deadline, run.status()
        time.sleep(0.1)


def owed_usd(run: Run) -> Decimal:
    estimate = run.plan.estimate
    assert estimate is not None
    watch = BudgetWatch(budget_usd=Decimal(1), terms=estimate.billing_terms)
    watch.saw(run.events())
    owed = watch.owed_usd(run.status(), clock_s=0)
    assert owed is not None
    return owed


def longest_pause_s(run: Run) -> float:
    times = [event.at for event in run.events()]
    return max(later - earlier for earlier, later in pairwise(times))


def test_an_unwatched_run_stops_at_its_budget_and_keeps_its_checkpoint(
    make_job: MakeJob, forked_local: ForkedLocal, ftsdk_home: Path
) -> None:
    backend = ForkedLocal(usd_per_hour=A_DOLLAR_A_SECOND)
    # The start counts, too: on a busy machine it may take longer than the smallest budget lasts.
    for budget_usd in (3, 12, 48):
        run = submitted(make_job(**LONG), backend, budget_usd=budget_usd, key=f"of-{budget_usd}")
        over(run)
        status = run.status()
        assert (status.state, status.native) == ("cancelled", "over_budget")
        assert f"budget_usd={budget_usd}" in status.reason
        assert budget_usd <= owed_usd(run) <= budget_usd + 2 * Decimal(str(longest_pause_s(run)))
        steps = [event.step for event in run.events() if isinstance(event, StepEvent)]
        if steps:
            break
    assert 0 < len(steps) < LONG["max_steps"]
    checkpoint, refused = newest_whole(ftsdk_home / "runs" / f"of-{budget_usd}")
    assert checkpoint is not None
    assert refused == []
    before = run.events()
    assert not run.resume()
    for opened in (run, Run.open(run.ref, backend=backend)):
        with pytest.raises(BudgetExceededError, match="has reached its budget and is cancelled") as caught:
            opened.wait(progress=False)
        assert caught.value.accrued_usd == owed_usd(run)
        assert caught.value.bound_usd == Decimal(str(longest_pause_s(run)))
    assert run.events() == before


def test_a_worker_killed_repeatedly_loses_none_of_its_accrued_cost(
    make_job: MakeJob, forked_local: ForkedLocal, ftsdk_home: Path
) -> None:
    run = submitted(make_job(**LONG), ForkedLocal(usd_per_hour=A_DOLLAR_A_SECOND), budget_usd=4)
    folder = ftsdk_home / "runs" / "a-run"
    for kill in range(1, 4):
        _until(lambda kill=kill: _checkpoints_of_this_attempt(run, kill) >= 1)
        holder = lock.holder_of(folder)
        if holder is None:
            break
        os.killpg(holder[1], signal.SIGKILL)
        _until(lambda: not lock.is_held(folder))
        time.sleep(1.0)  # in which nothing is at work, and nothing is owed
        run.resume()
    over(run)
    assert run.status().native == "over_budget"
    assert 4 <= owed_usd(run) <= 4 + 2 * Decimal(str(longest_pause_s(run)))
    attempts = [event for event in run.events() if isinstance(event, StateEvent) and event.native.startswith("attempt")]
    assert len(attempts) >= 2
    assert run.events()[-1].at - run.events()[0].at > 4 + len(attempts) - 1


@pytest.mark.slow
def test_two_ranks_stop_together(make_job: MakeJob) -> None:
    backend = Local(processes=2, device="cpu", usd_per_hour=A_DOLLAR_A_SECOND)
    # The ranks' start counts, too: where it takes longer than the budget lasts, they stop at once, and a larger budget
    # is due.
    for budget_usd in (20, 80, 320):
        run = submitted(
            make_job(**{**LONG, "max_steps": 30_000, "batch_size": 2}),
            backend,
            budget_usd=budget_usd,
            key=f"of-{budget_usd}",
        )
        over(run)
        status = run.status()
        assert (status.state, status.native) == ("cancelled", "over_budget"), status
        if any(isinstance(event, StepEvent) for event in run.events()):
            return
    pytest.fail("no budget was enough for a step")


def test_two_ranks_stop_together_when_they_are_asked(make_job: MakeJob) -> None:
    run = make_job(**LONG, backend=Local(processes=2, device="cpu")).submit()
    _until(lambda: sum(isinstance(event, StepEvent) for event in run.events()) > 3)
    run.cancel()
    over(run)
    assert (run.status().state, run.status().reason) == ("cancelled", "cancelled by user")


def _checkpoints_of_this_attempt(run: Run, attempt: int) -> int:
    """Of the attempt of this number, or enough of them if the run is over."""
    if run.status().is_terminal:
        return 1
    seen, found = 0, 0
    for event in run.events():
        seen += isinstance(event, StateEvent) and event.native.startswith("attempt")
        found += seen == attempt and isinstance(event, (CheckpointEvent, StepEvent))
    return found


def _until(condition: Callable[[], Any], timeout_s: float = 1500) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
