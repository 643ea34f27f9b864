"""Whatever targets do: one answer or one error, one record, and no target billed that isn't on record."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from routed_targets import Target

from ftsdk import FtsdkError, Router
from ftsdk.deploy.router.breaker import BreakerRule
from ftsdk.deploy.router.records import read_records

BEHAVIOURS = st.sampled_from(["ok", 500, 429, 400, 401, "reset", "garbage", "empty", "cut"])
NUMBERS = itertools.count()


@given(
    script=st.lists(st.tuples(BEHAVIOURS, BEHAVIOURS, BEHAVIOURS), min_size=1, max_size=6),
    share=st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_never_two_targets_are_billed_without_a_record(
    script: list[tuple[Any, Any, Any]],
    share: float,
    tuned: Target,
    frontier: Target,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder: Path = tmp_path_factory.mktemp("route")
    with Target() as other:
        targets = {"v3": tuned, "v4": other, "big": frontier}
        versions = {"v3": tuned.priced("v3"), "v4": other.priced("v4")}
        before = {name: len(target.asked) for name, target in targets.items()}
        rule = BreakerRule(failures=3, cooldown_s=0.05)
        answered = failed = 0
        with Router(
            versions, fallback={"big": frontier.priced("big")}, canary=share, shadow=0.5, folder=folder, breaker=rule
        ) as router:
            for first, second, third in script:
                tuned.behaviour, other.behaviour, frontier.behaviour = first, second, third
                try:
                    answer = router.complete(f"question {next(NUMBERS)}")
                except FtsdkError:
                    failed += 1
                else:
                    answered += 1
                    assert answer.text.strip()
        asked = {name: len(target.asked) - before[name] for name, target in targets.items()}
    lines = list(read_records(folder))
    records = [line for line in lines if line["kind"] == "answer"]
    attempts = [attempt for line in records for attempt in line["attempts"]]
    attempts += [line["attempt"] for line in lines if line["kind"] == "shadow"]
    assert len(records) == answered + failed
    assert len({line["id"] for line in records}) == len(records)
    assert {name: sum(attempt["arm"] == name for attempt in attempts) for name in targets} == asked
    assert all(len({attempt["arm"] for attempt in line["attempts"]}) == len(line["attempts"]) for line in records)
    announced = [(line["id"], line["arm"]) for line in lines if line["kind"] == "asked"]
    second_ones = [(line["id"], attempt["arm"]) for line in records for attempt in line["attempts"][1:]]
    shadows = [(line["id"], line["attempt"]["arm"]) for line in lines if line["kind"] == "shadow"]
    assert sorted(announced) == sorted(second_ones + shadows), "a second target is on record before it is asked"
    assert all(attempt["cost_usd"] is not None for attempt in attempts)
    answered_ones = [attempt for attempt in attempts if attempt["outcome"] == "answered"]
    assert all(attempt["cost_usd"] == pytest.approx(0.02) for attempt in answered_ones)
