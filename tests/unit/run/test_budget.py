"""A budget in flight: what is owed, when a run is stopped, and by how much it can be passed."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ftsdk import BudgetExceededError, Dataset, FineTuneJob, Modal, Run
from ftsdk.protocol import Plan, RunState, RunStatus, StateEvent, StepEvent
from ftsdk.protocol.estimates import BillingTerms, CostRange, Estimate, Range
from ftsdk.protocol.meter import accrued_usd
from ftsdk.run.budget import BudgetWatch, refuse_over_budget
from ftsdk.run.ledger import Ledger
from ftsdk.testing import ScriptedBackend, a_spec

HOURLY = BillingTerms(kind="per_hour", usd=Decimal(36), fixed_usd=Decimal(0), source="a test")
SHARED = BillingTerms(kind="per_share", usd=Decimal(8), fixed_usd=Decimal(4), source="a test")
RUNNING = RunStatus(state="running")


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def job_on(backend: ScriptedBackend, **changes: Any) -> FineTuneJob:
    rows = [{"text": f"mail {n}", "label": "ab"[n % 2]} for n in range(40)]
    train = Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")
    return FineTuneJob(**{"model": "acme/model-7B", "train": train, "backend": backend, **changes})


def started(event: str = "running", at: float = 100.0) -> StateEvent:
    return StateEvent(seq=0, at=at, state="running", native=event)


def test_what_the_place_says_counts_before_what_is_computed() -> None:
    assert accrued_usd(HOURLY, seconds=100, share_done=0, price_usd=Decimal("0.5")) == Decimal("0.5")
    assert accrued_usd(HOURLY, seconds=100, share_done=0, price_usd=None) == 1
    assert accrued_usd(None, seconds=100, share_done=0, price_usd=None) is None


def test_a_minimum_is_owed_from_the_first_moment_on() -> None:
    assert accrued_usd(SHARED, seconds=0, share_done=0.0, price_usd=None) == 4
    assert accrued_usd(SHARED, seconds=0, share_done=0.75, price_usd=None) == 6
    assert accrued_usd(SHARED, seconds=0, share_done=2.0, price_usd=None) == 8


def test_a_run_that_was_going_before_anybody_looked_owes_for_that_time_too() -> None:
    watch = BudgetWatch(budget_usd=Decimal(10), terms=HOURLY)
    watch.saw([started(at=1000.0), StepEvent(seq=1, at=1500.0, step=1, total_steps=100)])
    assert watch.owed_usd(RUNNING, clock_s=7.0) == 5
    assert watch.is_over(RUNNING, clock_s=7.0) is None
    # Nothing new was said, and time is billed all the same.
    assert watch.owed_usd(RUNNING, clock_s=507.0) == 10
    assert watch.is_over(RUNNING, clock_s=507.0) == 10


def test_a_job_whose_whole_price_is_its_budget_may_go_to_its_end() -> None:
    flat = BillingTerms(kind="per_share", usd=Decimal(4), fixed_usd=Decimal(4), source="a test")
    watch = BudgetWatch(budget_usd=Decimal(4), terms=flat)
    watch.saw([started(), StepEvent(seq=1, at=500.0, step=100, total_steps=100)])
    assert watch.owed_usd(RUNNING, clock_s=7.0) == 4
    assert watch.is_over(RUNNING, clock_s=7.0) is None
    assert watch.is_over(replace(RUNNING, price_usd=Decimal(4)), clock_s=7.0) is None
    assert watch.is_over(replace(RUNNING, price_usd=Decimal("4.01")), clock_s=7.0) == Decimal("4.01")


def test_a_run_that_waits_in_a_queue_owes_nothing() -> None:
    watch = BudgetWatch(budget_usd=Decimal(1), terms=HOURLY)
    for clock_s in (0.0, 3600.0):
        assert watch.owed_usd(RunStatus(state="queued"), clock_s=clock_s) == 0


def run_at_a_place_by_the_hour(tmp_path: Path, *, budget: float, script: str) -> Run:
    """A run in the ledger whose plan says that its place bills by the hour."""
    backend = ScriptedBackend(root=tmp_path / "place", script=script)
    run = job_on(backend, budget_usd=budget).submit()
    ledger = Ledger()
    record = ledger.get(run.ref)
    plan = Plan.from_dict(record.plan)
    assert plan.estimate is not None
    priced = plan.replace(estimate=Estimate.from_dict({**plan.estimate.to_dict(), "billing_terms": HOURLY.to_dict()}))
    return Run(replace(record, plan=priced.to_dict()), backend, ledger=ledger)


def test_a_run_that_reaches_its_budget_is_cancelled_within_one_look(tmp_path: Path) -> None:
    clock = Clock()
    run = run_at_a_place_by_the_hour(tmp_path, budget=1, script="never_ends")
    with pytest.raises(BudgetExceededError) as caught:
        run.wait(progress=False, poll_s=10, clock=clock, sleep=clock.sleep)
    assert run.status().state == "cancelled"
    # $36 an hour is a cent a second: the budget is reached after 100 s of running.
    assert 100 <= clock.now <= 100 + 10 + 10 + 10
    assert "budget_usd=1" in str(caught.value)
    assert "up to $0.1000 may have been spent" in str(caught.value)
    assert (caught.value.budget_usd, caught.value.bound_usd) == (Decimal(1), Decimal("0.1"))
    assert caught.value.accrued_usd is not None
    assert 1 <= caught.value.accrued_usd <= Decimal("1.3")


def test_waiting_again_for_a_stopped_run_explains_and_starts_nothing(tmp_path: Path) -> None:
    clock = Clock()
    run = run_at_a_place_by_the_hour(tmp_path, budget=1, script="never_ends")
    with pytest.raises(BudgetExceededError) as first:
        run.wait(progress=False, poll_s=10, clock=clock, sleep=clock.sleep)
    backend = ScriptedBackend(root=tmp_path / "place", script="never_ends")
    again = Run.open(run.ref, backend=backend)
    assert not again.resume()
    with pytest.raises(BudgetExceededError) as second:
        again.wait(progress=False)
    assert str(second.value).partition(": ")[2] == str(first.value).partition(": ")[2]
    assert second.value.accrued_usd == 1  # at least: what the clock of the first has seen is gone with it
    assert again.status().reason.startswith("it had cost $1.0")
    assert sum(request["call"] == "submit" for request in backend.requests) == 1


def test_a_run_that_somebody_cancelled_was_not_stopped_by_its_budget(tmp_path: Path) -> None:
    run = run_at_a_place_by_the_hour(tmp_path, budget=1, script="never_ends")
    run.cancel()
    clock = Clock()
    run.wait(progress=False, clock=clock, sleep=clock.sleep)
    assert run.status().state == "cancelled"


def test_a_run_cancelled_before_submission_was_not_stopped_by_its_budget(tmp_path: Path) -> None:
    ref = job_on(ScriptedBackend(root=tmp_path / "place"), budget_usd=1).submit().ref
    ledger = Ledger()
    never = ledger.intend(replace(ledger.get(ref), ref="scripted:never", submitted_at=None))
    ledger.never_started(never.ref, "cancelled", "cancelled before anything was started")
    assert (
        Run.open(never.ref, backend=ScriptedBackend(root=tmp_path / "place")).wait(progress=False).status().native
        == "never started"
    )


def test_a_run_stopped_by_its_own_worker_has_its_own_native_state(tmp_path: Path) -> None:
    script = [
        {"kind": "state", "native": "running"},
        {"kind": "state", "native": "over_budget", "reason": "$1.2 is owed, as much as budget_usd=1"},
    ]

    class StopsItself(ScriptedBackend):
        def _state_for(self, native: str) -> RunState:
            return "cancelled" if native == "over_budget" else super()._state_for(native)

    run = job_on(StopsItself(root=tmp_path / "place", script=script), budget_usd=1).submit()
    with pytest.raises(BudgetExceededError, match=r"is cancelled: \$1.2 is owed"):
        run.wait(progress=False, poll_s=0)
    with pytest.raises(BudgetExceededError):
        Run.open(run.ref, backend=StopsItself(root=tmp_path / "place", script=script)).wait(progress=False, poll_s=0)


def test_a_run_that_stays_under_its_budget_is_left_alone(tmp_path: Path) -> None:
    clock = Clock()
    run = run_at_a_place_by_the_hour(tmp_path, budget=100, script="succeeds")
    run.wait(progress=False, poll_s=10, clock=clock, sleep=clock.sleep)
    assert run.status().state == "succeeded"
    assert not any(request["call"] == "cancel" for request in ScriptedBackend(root=tmp_path / "place").requests)


def test_a_reopened_run_is_watched_and_continues_under_its_budget(
    tmp_path: Path,
) -> None:
    backend = ScriptedBackend(root=tmp_path / "place", script="never_ends", cost_usd=(1, 2, 2))
    ref = job_on(backend, budget_usd=2).submit().ref
    again = Run.open(ref, backend=ScriptedBackend(root=tmp_path / "place", script="never_ends", cost_usd=(1, 2, 2)))
    clock = Clock()
    # Two of three steps are done: two thirds of the likely two dollars, which is under the budget.
    with pytest.raises(TimeoutError):
        again.wait(progress=False, timeout_s=60, poll_s=1, clock=clock, sleep=clock.sleep)


def test_a_run_that_could_cost_more_than_its_budget_is_not_started(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path / "place", cost_usd=(1, 2, 3))
    with pytest.raises(BudgetExceededError, match=r"up to \$3\.00"):
        job_on(backend, budget_usd=2.5).submit()
    assert backend.requests == ()


@pytest.mark.parametrize("gpu", ["cpu", "L4"])
def test_modal_bills_by_the_second_and_its_cold_starts_too(gpu: str) -> None:
    job = job_on(ScriptedBackend(root=Path("nowhere"))).replace(backend=Modal(gpu=gpu), budget_usd=30)
    plan = job.plan()
    assert plan.estimate is not None
    terms = plan.estimate.billing_terms
    assert terms is not None
    assert terms.kind == "per_hour"
    assert float(terms.usd) == pytest.approx(3600 * float(plan.request["launch"]["usd_per_s"]))
    assert terms.start_s == plan.request["launch"]["startup_timeout_s"] == 300
    # Ten minutes in a queue, and then a container: as much as its start may have taken is owed before its first word.
    watch = BudgetWatch(budget_usd=Decimal(30), terms=terms, submitted_at=1000.0)
    watch.saw([started(at=1600.0)])
    assert watch.owed_usd(RUNNING, clock_s=0.0) == accrued_usd(terms, seconds=300, share_done=0, price_usd=None)


def test_how_far_a_budget_can_be_passed_is_what_one_look_may_miss() -> None:
    by_time = BudgetWatch(budget_usd=Decimal(1), terms=HOURLY)
    by_time.saw(
        [
            started(at=100.0),
            StepEvent(seq=1, at=103.0, step=1, total_steps=4),
            StepEvent(seq=2, at=104.0, step=2, total_steps=4),
        ]
    )
    assert by_time.overspend_bound_usd(50) == Decimal("0.5")
    assert by_time.overspend_bound_usd() == Decimal("0.03")
    by_share = BudgetWatch(budget_usd=Decimal(1), terms=SHARED)
    by_share.saw([started(), StepEvent(seq=1, at=103.0, step=1, total_steps=4)])
    by_share.saw([StepEvent(seq=2, at=104.0, step=2, total_steps=4), StepEvent(seq=3, at=105.0, step=3, total_steps=4)])
    assert by_share.overspend_bound_usd(50) == 4
    assert BudgetWatch(budget_usd=Decimal(1), terms=None).overspend_bound_usd(50) == 0


@pytest.mark.parametrize(
    ("high", "written"), [("0.5204", "$0.5204"), ("0.520001", "$0.5201"), ("0.53", "$0.53"), ("12", "$12.00")]
)
def test_a_cost_just_over_the_budget_does_not_look_like_the_budget(high: str, written: str) -> None:
    cost = CostRange(low=Decimal("0.1"), likely=Decimal("0.2"), high=Decimal(high), source="a test")
    plan = Plan(
        backend="scripted",
        spec=a_spec(),
        request={},
        estimate=Estimate(backend="scripted", cost=cost),
    )
    with pytest.raises(BudgetExceededError, match=rf"up to {re.escape(written)} .*more than budget_usd=0\.52"):
        refuse_over_budget(plan, Decimal("0.52"), is_quoted=False)


def test_only_a_backend_that_quotes_may_start_below_the_upper_estimate() -> None:
    cost = CostRange(low=Decimal(5), likely=Decimal(8), high=Decimal("14.07"), source="a test")
    tokens = Range(low=1.0, likely=2.0, high=3.0)
    estimate = Estimate(backend="scripted", cost=cost, billed_tokens=tokens)
    plan = Plan(backend="scripted", spec=a_spec(), request={}, estimate=estimate)
    refuse_over_budget(plan, Decimal("10.08"), is_quoted=True)
    with pytest.raises(BudgetExceededError, match=r"up to \$14\.07"):
        refuse_over_budget(plan, Decimal("10.08"), is_quoted=False)


@pytest.mark.parametrize("price", ["NaN", "sNaN", "Infinity", "-1"])
def test_a_price_that_cannot_be_one_counts_as_not_reported(price: str) -> None:
    status = RunStatus(state="running", price_usd=Decimal(price))
    assert status.price_usd is None
    terms = BillingTerms(kind="per_hour", usd=Decimal(3600), fixed_usd=Decimal(0), source="a test")
    watch = BudgetWatch(budget_usd=Decimal(5), terms=terms)
    assert watch.is_over(status, clock_s=0.0) is None
    assert watch.is_over(status, clock_s=6.0) == 6


@pytest.mark.parametrize("clock_s", [math.nan, math.inf, -math.inf, -1e300, 1e300])
def test_a_watch_outlives_a_clock_that_is_wrong(clock_s: float) -> None:
    terms = BillingTerms(kind="per_hour", usd=Decimal(3600), fixed_usd=Decimal(0), source="a test")
    watch = BudgetWatch(budget_usd=Decimal(5), terms=terms)
    status = RunStatus(state="running")
    for at in (0.0, clock_s, 1.0, 2.0):
        owed = watch.owed_usd(status, clock_s=at)
        assert owed is not None
        assert owed.is_finite()
    assert watch.is_over(status, clock_s=100.0) is not None
