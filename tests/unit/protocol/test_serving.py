"""What is decided about a deployment before anything starts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.errors import BudgetExceededError, SpecError
from ftsdk.protocol.serving import ServingOffer, plan_serving


def an_offer(hardware: str = "1xh100", price: str | None = "3.99") -> ServingOffer:
    return ServingOffer(
        hardware=hardware,
        gpu_type="H100",
        gpu_count=1,
        price_usd_per_hour=None if price is None else Decimal(price),
        source="a price list",
        as_of="2026-11-24",
        idle_stop_s_min=1800,
        idle_stop_s_max=86400,
    )


OFFERS = [an_offer("2xh100", "7.98"), an_offer("1xh100", "3.99"), an_offer("1xb200", None)]


def test_the_cheapest_hardware_with_a_price_is_taken_unless_it_is_named() -> None:
    assert plan_serving(OFFERS, budget_usd=10).offer.hardware == "1xh100"
    assert plan_serving(OFFERS, budget_usd=10, hardware="2xh100").offer.hardware == "2xh100"


def test_the_cheapest_is_skipped_while_none_is_free_unless_named() -> None:
    offers = [an_offer("1xh100").replace(free=0), an_offer("2xh100", "7.98").replace(free=3)]
    assert plan_serving(offers, budget_usd=10).offer.hardware == "2xh100"
    assert "none free now" in str(plan_serving(offers, budget_usd=10, hardware="1xh100"))
    assert plan_serving(offers[:1], budget_usd=10).offer.hardware == "1xh100"  # the place only guesses


def test_without_any_limit_nothing_is_planned() -> None:
    with pytest.raises(SpecError, match=r"budget_usd=5, max_hours=1"):
        plan_serving(OFFERS)


def test_unknown_hardware_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean '1xh100'"):
        plan_serving(OFFERS, hardware="1xh10", budget_usd=10)


def test_a_budget_below_the_idle_time_is_refused_with_what_it_takes() -> None:
    # Half an hour of idling and five minutes of use at 3.99 an hour are 2.33.
    with pytest.raises(BudgetExceededError, match=r"nothing was started.*\$3\.99.*\$2\.33"):
        plan_serving(OFFERS, budget_usd=2.32)
    assert plan_serving(OFFERS, budget_usd=2.33).max_s >= 300


def test_hardware_without_a_price_is_refused_since_no_budget_holds() -> None:
    with pytest.raises(BudgetExceededError, match="no price for 1xb200"):
        plan_serving(OFFERS, hardware="1xb200", max_hours=1)


@pytest.mark.parametrize(
    ("idle_stop_s", "is_offered"),
    [(1799, False), (1800, True), (1830, False), (86400, True), (86460, False), (0, False)],
)
def test_an_idle_time_is_in_whole_minutes_and_within_what_is_offered(idle_stop_s: int, is_offered: bool) -> None:
    if is_offered:
        assert plan_serving(OFFERS, max_hours=1, idle_stop_s=idle_stop_s).idle_stop_s == idle_stop_s
    else:
        with pytest.raises(SpecError, match="from 1800 to 86400"):
            plan_serving(OFFERS, max_hours=1, idle_stop_s=idle_stop_s)


@pytest.mark.parametrize("limits", [{"budget_usd": 0}, {"max_hours": -1}])
def test_a_limit_must_be_above_zero(limits: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="above 0"):
        plan_serving(OFFERS, **limits)


def test_the_shorter_of_both_limits_counts() -> None:
    assert plan_serving(OFFERS, budget_usd=1000, max_hours=2).max_s == 7200
    assert plan_serving(OFFERS, budget_usd=9, max_hours=2).max_s < 7200


def test_the_line_shows_hardware_price_source_date_and_maximum() -> None:
    line = str(plan_serving(OFFERS, max_hours=2))
    for word in ("1xh100", "$3.99 an hour", "a price list", "2026-11-24", "2 h", "30 min", "at most $9.98"):
        assert word in line


@given(
    price=st.decimals("0.01", "60", places=2),
    budget=st.decimals("0.01", "500", places=2),
    idle_min=st.integers(30, 1440),
    max_hours=st.none() | st.floats(0.1, 100),
)
def test_even_if_this_process_dies_at_the_worst_moment_the_budget_holds(
    price: Decimal, budget: Decimal, idle_min: int, max_hours: float | None
) -> None:
    try:
        plan = plan_serving(
            [an_offer(price=str(price))], budget_usd=budget, max_hours=max_hours, idle_stop_s=60 * idle_min
        )
    except BudgetExceededError:
        assert price * (Decimal(idle_min) / 60 + Decimal(1) / 12) > budget
        return
    # Multiplied first: a quotient is rounded.
    assert price * (plan.max_s + plan.idle_stop_s) / 3600 <= budget
    assert plan.at_most_usd <= budget
