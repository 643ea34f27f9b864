"""Plans that a ledger kept before plans had a workload and a billing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ftsdk import SpecError
from ftsdk.protocol import Plan
from ftsdk.testing import a_spec

COST = {"low": 1.0, "likely": 2.0, "high": 3.0, "source": "a price list"}


def old_plan(**changes: Any) -> Plan:
    return Plan.from_dict({"backend": "acme", "spec": a_spec().to_dict(), "request": {"steps": 3}, **changes})


@pytest.mark.parametrize(
    "estimate", [{}, {"estimate": {"backend": "acme"}}, {"estimate": {"backend": "acme", "cost": COST}}]
)
def test_the_cost_of_an_old_plan_is_its_estimates(estimate: dict[str, Any]) -> None:
    plan = old_plan(cost=COST, cost_note="", **estimate)
    assert plan.cost is not None
    assert plan.cost.likely == Decimal(2)
    assert (plan.workload, plan.billing) == (None, None)
    assert Plan.from_dict(plan.to_dict()) == plan


def test_an_old_plan_without_a_cost_keeps_the_reason() -> None:
    plan = old_plan(cost_note="this machine bills nothing")
    assert (plan.cost, plan.cost_note) == (None, "this machine bills nothing")


def test_guessed_tokens_of_an_old_spec_are_read() -> None:
    spec = a_spec().to_dict()
    spec["train"]["tokens"] = {"few": 10, "likely": 20, "many": 30}
    tokens = old_plan(spec=spec).spec.train.tokens
    assert tokens is not None
    assert (tokens.low, tokens.likely, tokens.high) == (10, 20, 30)


def test_a_plan_that_is_no_json_is_a_spec_error() -> None:
    with pytest.raises(SpecError, match="isn't JSON"):
        Plan.from_json("{")


def test_the_old_name_of_an_estimates_billing_terms_is_read() -> None:
    terms = {"kind": "per_hour", "usd": 36.0, "fixed_usd": 0.0, "source": "a price list"}
    plan = old_plan(estimate={"backend": "acme", "accrual": terms})
    assert plan.estimate is not None
    assert plan.estimate.billing_terms is not None
    assert plan.estimate.billing_terms.usd == Decimal(36)
    assert Plan.from_dict(plan.to_dict()) == plan
