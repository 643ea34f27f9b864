"""Budgets: a run that could cost more isn't started, and one that reaches its budget is stopped for good."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from ftsdk._format import money
from ftsdk._home import home
from ftsdk.data import Dataset
from ftsdk.errors import BudgetExceededError
from ftsdk.job.job import FineTuneJob
from ftsdk.protocol import CanQuote, RunRef
from ftsdk.run.ledger import Ledger, Record
from ftsdk.run.run import Run
from ftsdk.run.submission import submit
from ftsdk.testing.conformance.hooks import Costly, Hooks, new_key, reopened

__all__ = ["BudgetChecks"]

_LEAST_USD = Decimal("0.0001")
_CENT = Decimal("0.01")
_NEVER_S = 7 * 86_400.0
"""By the waiter's own clock: a run that isn't stopped by then is never stopped."""


class BudgetChecks(Hooks):
    """`budget_usd`, before a run and during it."""

    def test_a_run_that_could_cost_more_than_its_budget_is_not_started(self, tmp_path: Path) -> None:
        """It is refused with `BudgetExceededError`: no request, nothing written, no run."""
        backend = self.billing_backend(tmp_path)
        if backend is None:
            pytest.skip("billing_backend() isn't overridden: nothing is billed there")
        job = FineTuneJob(model=self.make_spec().model, train=_rows(), backend=backend, **self.budget_options)
        cost = job.plan().cost
        assert cost is not None, "it bills, but its plan has no cost to compare a budget with"
        sent, started, written = self.requests_seen(backend), self.runs_started(backend), _files()
        with pytest.raises(BudgetExceededError):
            job.replace(budget_usd=max(_LEAST_USD, cost.low / 2)).submit()
        tight = max(_LEAST_USD, cost.high * Decimal("0.99"))
        try:
            plan = job.replace(budget_usd=tight).plan()
        except BudgetExceededError:
            pass
        else:
            # Two good reasons to go on: the provider caps the run at the budget, or quotes its own price before it
            # creates anything, which the next test checks.
            assert isinstance(backend, CanQuote) or (plan.cost is not None and plan.cost.high <= tight + _CENT), (
                f"it may cost {plan.cost}, and the budget is ${tight}"
            )
        assert _files() == written, f"something was written before the refusal: {sorted(map(str, _files() - written))}"
        assert self.requests_seen(backend) == sent, "requests went out before the refusal"
        assert self.runs_started(backend) == started, "a run was started although it could exceed its budget"

    def test_a_run_whose_quote_is_over_its_budget_is_not_started(self, tmp_path: Path) -> None:
        """`submit()` holds the provider's quote against `budget_usd` before it creates anything."""
        backend = self.billing_backend(tmp_path)
        if not isinstance(backend, CanQuote):
            pytest.skip("it quotes no price, or nothing is billed there")
        job = FineTuneJob(model=self.make_spec().model, train=_rows(), backend=backend, **self.budget_options)
        job.to_yaml()  # puts the rows into the store, from which they are uploaded
        quote = backend.quote(job.plan())
        started = self.runs_started(backend)
        with pytest.raises(BudgetExceededError):
            job.replace(budget_usd=max(_LEAST_USD, quote.usd * Decimal("0.99"))).submit()
        assert self.runs_started(backend) == started, "a run was started whose quote is over its budget"

    def test_a_run_that_reaches_its_budget_is_stopped_for_good(self, tmp_path: Path) -> None:
        """It ends as cancelled for every reader, over budget by at most one polling interval.

        Nothing starts it again.
        """
        case = self.costly_run(tmp_path)
        if case is None:
            pytest.skip("costly_run() isn't overridden: no run can be made to cost as much as its budget")
        backend, plan = case.backend, case.plan
        key = new_key()
        ledger = Ledger(tmp_path / "budget-ledger.sqlite")
        record = ledger.intend(
            Record(ref=f"{backend.name}:{key}", name=None, plan=plan.to_dict(), options=dict(backend.options))
        )
        run = Run(submit(record, plan, backend, ledger), backend, ledger=ledger)
        ref = RunRef(backend=backend.name, id=key, native=ledger.get(run.ref).native)
        if not case.is_watched:
            self.finish(backend, ref)
        self._is_over_budget(run, case)
        status, events, started = backend.status(ref), list(backend.events(ref)), self.runs_started(backend)

        again = Run(ledger.get(run.ref), reopened(backend), ledger=ledger)
        self._is_over_budget(again, case)
        assert not again.resume(), "resume() restarted a run that has used up its budget"
        backend.submit(plan, key=key)
        assert backend.status(ref) == status, (
            f"a run that has used up its budget was {status.state}, and is {backend.status(ref).state}"
        )
        assert list(backend.events(ref)) == events, "a run that has used up its budget continued"
        assert self.runs_started(backend) == started, "it was started again"

    def _is_over_budget(self, run: Run, case: Costly) -> None:
        clock = _Clock(self.between_polls)
        budget = case.plan.spec.budget_usd
        assert budget is not None, "the plan of costly_run() has no budget_usd"
        try:
            run.wait(progress=False, timeout_s=_NEVER_S, poll_s=case.poll_s, clock=clock, sleep=clock.sleep)
        except BudgetExceededError as error:
            raised = error
        except TimeoutError as error:
            raise AssertionError(f"the run was never stopped: {error}") from error
        else:
            raise AssertionError(f"waiting ended without BudgetExceededError; the run is {run.status()}")
        assert run.status().state == "cancelled", f"a run that has used up its budget is {run.status().state}"
        assert f"budget_usd={budget}" in str(raised), f"the error doesn't name the budget: {raised}"
        assert raised.accrued_usd is not None
        assert raised.bound_usd is not None
        # One interval until it is seen, and at most another until the provider has stopped the run.
        limit = budget + 2 * raised.bound_usd
        assert raised.accrued_usd <= limit, (
            f"{money(raised.accrued_usd, places=4)} was spent of ${budget}, and one interval "
            f"costs {money(raised.bound_usd, places=4)}"
        )
        assert str(budget) in run.status().reason, f"the status doesn't say why: {run.status().reason!r}"


def _rows() -> Dataset:
    rows = [{"q": f"question {n}", "a": "yes"} for n in range(16)]
    return Dataset.from_rows(rows, name="budget").as_chat(prompt="{q}", completion="{a}")


class _Clock:
    """A clock that the waiter's own sleep advances, while the service continues at its own pace."""

    def __init__(self, between_polls: Callable[[], None]) -> None:
        self._now = 0.0
        self._between_polls = between_polls

    def __call__(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        self._between_polls()


def _files() -> set[Path]:
    return {path for path in home().rglob("*") if path.is_file()}
