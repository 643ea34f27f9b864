"""Crossings and money over time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.cost.comparison.crossings import crossings
from ftsdk.cost.comparison.finance import net_present_value_usd, payback_months


def test_a_staircase_crosses_a_line_several_times_and_all_are_found() -> None:
    # The line costs 1 a request; each step of 100 requests costs 90 more, with 25 to begin with.
    found = crossings(
        lambda v: 25 + 90 * np.ceil(v / 100 - 1e-9) - v, 1, 1000, breaks=[100.0 * n for n in range(1, 10)]
    )
    # 25+90k=v lies within step k for k=4..; before that the step is left before the line reaches it.
    inside = [25 + 90 * k for k in range(1, 11) if 100 * (k - 1) < 25 + 90 * k <= 100 * k]
    assert [round(point.at) for point in found if not point.is_rising] == inside
    rising = [point.at for point in found if point.is_rising]
    assert rising == pytest.approx(
        [100 * k for k in range(3, 10) if 25 + 90 * (k + 1) > 100 * k >= 25 + 90 * k and k * 100 != 25 + 90 * k],
        rel=1e-5,
    )
    assert len(found) > 3


def test_curves_that_never_meet_have_no_crossing() -> None:
    assert crossings(lambda v: v + 1, 1, 1e9) == ()


def test_places_without_a_value_are_passed_over() -> None:
    found = crossings(lambda v: np.where(np.asarray(v) > 50, np.nan, np.asarray(v) - 10.0), 1, 100)
    assert [round(point.at, 3) for point in found] == [10]


@given(st.floats(1.5, 1e6))
def test_a_line_through_the_origin_crosses_a_fixed_cost_by_division(fixed: float) -> None:
    (point,) = crossings(lambda v: fixed - v * 0.5, 1, 1e8)
    assert point.at == pytest.approx(fixed * 2, rel=1e-6)
    assert not point.is_rising


def test_payback_is_what_the_beginning_costs_over_what_a_month_saves() -> None:
    assert payback_months(upfront_usd=300, savings_usd=[100.0] * 12) == 3
    assert payback_months(upfront_usd=250, savings_usd=[100.0] * 12) == 2.5
    assert payback_months(upfront_usd=300, savings_usd=[-1.0] * 120) is None
    assert payback_months(upfront_usd=0, savings_usd=[5.0]) == 0


def test_money_later_is_worth_less() -> None:
    assert net_present_value_usd(upfront_usd=100, savings_usd=[10.0] * 12, discount_per_year=0.0) == pytest.approx(20)
    year_end = [0.0] * 11 + [110.0]
    assert net_present_value_usd(upfront_usd=100, savings_usd=year_end, discount_per_year=0.10) == pytest.approx(
        0, abs=1e-9
    )
