from __future__ import annotations

import math
from decimal import Decimal

import pytest

from ftsdk import SpecError
from ftsdk.spec.amounts import check_amount


@pytest.mark.parametrize("value", [1, 0.5, Decimal("2.5"), 10])
def test_a_number_within_its_bounds_passes(value: object) -> None:
    assert check_amount("budget_usd", value, above=0, at_most=10) is None


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("Infinity"), 0, -1, 10.5, 10**400, "5", True, None]
)
def test_everything_else_is_refused_with_its_name(value: object) -> None:
    with pytest.raises(SpecError, match="budget_usd"):
        check_amount("budget_usd", value, above=0, at_most=10)


def test_a_lower_bound_can_be_inclusive() -> None:
    assert check_amount("settle_s", 0, at_least=0) is None
    with pytest.raises(SpecError, match="from 0"):
        check_amount("settle_s", -0.1, at_least=0)
