"""What a budget buys on Modal: attempts that are long enough, and more of it never makes less."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk import BudgetExceededError, Dataset, FineTuneJob, Modal
from ftsdk.backends.launchers.modal.limits import RunLimits, run_limits, worst_case_usd
from ftsdk.protocol import Plan

RATE = Decimal("0.0004")


def plan(backend: Modal, **changes: Any) -> Plan:
    train = Dataset.from_rows([{"q": f"question {n}", "a": "yes"} for n in range(3000)]).as_chat(
        prompt="{q}", completion="{a}"
    )
    return FineTuneJob(
        **{"model": "meta-llama/Llama-3.1-8B-Instruct", "train": train, "epochs": 3, "backend": backend, **changes}
    ).plan()


def limits(budget: Decimal, needed_s: int | None) -> RunLimits | None:
    try:
        return run_limits(
            budget_usd=budget,
            usd_per_s=RATE,
            timeout_s=None,
            max_attempts=None,
            default_timeout_s=3600,
            needed_s=needed_s,
        )
    except BudgetExceededError:
        return None


@given(
    budgets=st.lists(st.decimals(min_value="0.2", max_value=150, places=3), min_size=2, max_size=2).map(sorted),
    needed_s=st.none() | st.integers(1, 200_000),
)
def test_a_larger_budget_never_buys_less_time_or_shorter_attempts(budgets: list[Decimal], needed_s: int | None) -> None:
    smaller, larger = (limits(budget, needed_s) for budget in budgets)
    if smaller is None:
        return
    assert larger is not None
    assert larger.timeout_s * larger.max_attempts >= smaller.timeout_s * smaller.max_attempts
    assert larger.total_s >= smaller.total_s
    if needed_s is not None and smaller.timeout_s >= needed_s:
        assert larger.timeout_s >= needed_s


def test_attempts_are_added_only_when_each_can_do_the_whole_run() -> None:
    found = [limits(Decimal(budget) / 100, 1500) for budget in range(40, 400, 5)]
    assert {c.max_attempts for c in found if c is not None} == {1, 2, 3}
    assert all(c.max_attempts == 1 or c.timeout_s >= 1500 for c in found if c is not None)


def test_a_run_longer_than_any_attempt_gets_all_that_the_budget_buys() -> None:
    found = limits(200_000 * RATE, 150_000)
    assert found is not None
    assert found.max_attempts == 2
    assert found.timeout_s * found.max_attempts > 190_000 * 0.85


@pytest.mark.parametrize(
    ("backend", "budget", "said"),
    [
        (Modal(gpu="L4"), "0.53", "is likely to be cut off: it likely takes"),
        (Modal(gpu="L4"), "0.64", "may be cut off: it may take"),
        (Modal(gpu="L4", timeout_s=400, max_attempts=1), "0.6", "is likely to be cut off: it likely takes"),
        (
            Modal(gpu="L4", timeout_s=300, max_attempts=2),
            None,
            "it is allowed 2 attempts of 300 s. Raise timeout_s or max_attempts",
        ),
    ],
)
def test_a_plan_whose_time_may_not_suffice_says_so_before_anything_else(
    backend: Modal, budget: str | None, said: str
) -> None:
    made = plan(backend, budget_usd=None if budget is None else Decimal(budget))
    first_note = next(line for line in str(made).splitlines() if line.startswith("Note: "))
    assert said in first_note
    assert "newest whole checkpoint" in first_note


def test_a_plan_whose_time_suffices_says_nothing_of_it() -> None:
    made = plan(Modal(gpu="L4"), budget_usd=2)
    launch = made.request["launch"]
    assert made.estimate is not None
    assert made.estimate.seconds is not None
    assert launch["timeout_s"] >= made.estimate.seconds.high
    assert "cut off" not in str(made)


@pytest.mark.parametrize(("changes", "gpu"), [({"model": "nobody/knows"}, "H100"), ({"model": "nobody/knows"}, "cpu")])
def test_without_a_known_time_only_the_most_expensive_case_is_stated(changes: dict[str, Any], gpu: str) -> None:
    made = plan(Modal(gpu=gpu), **changes)
    worst = worst_case_usd(86_400, 3, Decimal(made.request["launch"]["usd_per_s"])).quantize(
        Decimal("0.01"), rounding=ROUND_CEILING
    )
    assert (made.cost, made.request["launch"]["timeout_s"]) == (None, 86_400)
    assert f"Cost     at most ${worst} (every attempt to its timeout; https://modal.com/pricing, as of 20" in str(made)
    assert made.estimate is not None
    assert (made.estimate.cost, made.estimate.cost_note) == (None, made.cost_note)
    assert made.estimate.billing_terms is not None


def test_a_budget_caps_a_run_whose_time_nobody_knows() -> None:
    made = plan(Modal(gpu="H100"), model="nobody/knows", budget_usd=5)
    launch = made.request["launch"]
    assert worst_case_usd(launch["timeout_s"], launch["max_attempts"], Decimal(launch["usd_per_s"])) <= 5
    assert "at most $" in made.cost_note
    with pytest.raises(BudgetExceededError):
        plan(Modal(gpu="H100"), model="nobody/knows", budget_usd=Decimal("0.5"))
