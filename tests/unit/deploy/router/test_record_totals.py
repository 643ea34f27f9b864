"""Records on a full disk, and the totals that spare a start from reading them all."""

from __future__ import annotations

import random
import resource
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from routed_targets import Target

from ftsdk import Router
from ftsdk.deploy.router.record_totals import RecordTotals, write_totals
from ftsdk.deploy.router.records import RecordLog, read_last_records, read_records

NOW = 1_764_000_000.0


def answer(
    number: int, *, at: float = NOW, rollout: str = "r-1", role: str = "canary", error: str | None = None
) -> dict[str, Any]:
    attempt = {"arm": "v3", "role": role, "outcome": "answered", "error": error, "cost_usd": 0.25}
    return {"kind": "answer", "id": f"r{number}", "at": at, "rollout": rollout, "outcome": "answered", "arm": "v3",
            "attempts": [attempt]}  # fmt: skip


def lines(count: int, seed: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    found: list[dict[str, Any]] = []
    for number in range(count):
        at, rollout = NOW + number, chance.choice(["r-1", "r-2"])
        kind = chance.randrange(4)
        if kind == 0:
            by = chance.choice(["judge", "validator", "feedback"])
            pair = {"canary": chance.random() < 0.5, "champion": chance.random() < 0.5}
            found.append({"kind": "pair", "id": "x", "at": at, "rollout": rollout, "by": by, **pair})
        elif kind == 1:
            shadow = {"role": "shadow", "cost_usd": 0.125}
            found.append({"kind": "shadow", "id": "x", "at": at, "rollout": rollout, "attempt": shadow})
        else:
            role, error = chance.choice(["canary", "fallback"]), chance.choice([None, "schema", "busy"])
            found.append(answer(number, at=at, rollout=rollout, role=role, error=error))
    return found


def shown(totals: RecordTotals) -> object:
    return totals.spent_until(NOW + 10**6 // 20), totals.samples("r-1"), totals.samples("r-2"), totals.samples("r-3")


def totals_of(given: list[dict[str, Any]]) -> RecordTotals:
    totals = RecordTotals()
    for line in given:
        totals.take(line)
    return totals


@pytest.mark.parametrize("kept_after", [0, 1, 57, 100])
def test_what_was_kept_and_what_came_since_is_all_there_is(kept_after: int, tmp_path: Path) -> None:
    given = lines(100, seed=kept_after)
    totals = RecordTotals()
    log = RecordLog(tmp_path, on_written=totals.take, clock=lambda: NOW)
    for line in given[:kept_after]:
        log.append(line)
    assert write_totals(tmp_path, log.position(lambda sizes: totals.snapshot(sizes, now=NOW + 100)))
    for line in given[kept_after:]:
        log.append(line)
    log.close()
    assert shown(RecordTotals.read(tmp_path)) == shown(totals_of(given)) == shown(RecordTotals.read(tmp_path))


def test_what_was_counted_is_not_read_again(tmp_path: Path) -> None:
    totals = RecordTotals()
    log = RecordLog(tmp_path, on_written=totals.take, clock=lambda: NOW)
    for number in range(10):
        log.append(answer(number))
    write_totals(tmp_path, log.position(lambda sizes: totals.snapshot(sizes, now=NOW)))
    log.append(answer(11))
    log.close()
    file = next((tmp_path / "records").iterdir())
    content = file.read_bytes()
    counted = content.rindex(b"\n", 0, -1)
    file.write_bytes(b"x" * counted + content[counted:])
    assert sum(whole for _, whole, _ in RecordTotals.read(tmp_path).spent_until(NOW + 60)) == Decimal("2.75")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"version": 2}', '{"version": 1}',
     '{"version": 1, "offsets": {"": -1}, "spent": [], "rollouts": {}}',
     '{"version": 1, "offsets": {}, "spent": [[1, "NaN", "0"]], "rollouts": {}}',
     '{"version": 1, "offsets": {}, "spent": [[1, "-5", "0"]], "rollouts": {}}',
     '{"version": 1, "offsets": {}, "spent": [], "rollouts": {"r-1": {"pairs": {"other": 1}}}}', "[" * 99_999],
)  # fmt: skip
def test_totals_that_are_damaged_are_counted_anew(content: str, tmp_path: Path) -> None:
    log = RecordLog(tmp_path, clock=lambda: NOW)
    log.append(answer(1))
    log.close()
    (tmp_path / "totals.json").write_text(content)
    assert shown(RecordTotals.read(tmp_path)) == shown(totals_of([answer(1)]))


def test_a_start_of_a_router_keeps_money_samples_and_who_answered(tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.priced(), folder=tmp_path, usd_per_day=100) as router:
        ids = [router.complete("Where?", max_tokens=5).id for _ in range(3)]
        spent = router.status().to_dict()["spent_usd"]["last_day"]
    with Router(tuned.priced(), folder=tmp_path, usd_per_day=100) as router:
        assert router.status().to_dict()["spent_usd"]["last_day"] == pytest.approx(spent)
        router.feedback(ids[0], accepted=True)
    assert spent == pytest.approx(0.06)


def test_the_last_records_are_those_of_the_end(tmp_path: Path) -> None:
    log = RecordLog(tmp_path, clock=lambda: NOW)
    for number in range(100):
        log.append(answer(number))
    log.close()
    length = next((tmp_path / "records").iterdir()).stat().st_size // 100
    found = [line["id"] for line in read_last_records(tmp_path, most_bytes=10 * length)]
    assert found == [f"r{number}" for number in range(100 - len(found), 100)]
    assert 8 <= len(found) <= 11


def test_a_line_that_a_full_disk_cut_off_takes_no_other_with_it(tmp_path: Path) -> None:
    written: list[Any] = []
    log = RecordLog(tmp_path, clock=lambda: NOW, on_written=written.append)
    assert log.append(answer(1))
    size = next((tmp_path / "records").iterdir()).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
    try:
        refused = [log.append(answer(2)), log.append(answer(3))]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.append(answer(4))
    assert log.append(answer(5))
    log.close()
    assert (refused, log.failures) == ([False, False], 2)
    assert [line["id"] for line in read_records(tmp_path)] == ["r1", "r4", "r5"] == [line["id"] for line in written]


def test_a_router_answers_while_its_disk_is_full_and_says_so(tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint(), folder=tmp_path) as router:
        router.complete("Where?")
        size = next((tmp_path / "records").iterdir()).stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 7, hard))
        try:
            answers = [router.complete("Where?").text for _ in range(3)]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        router.complete("Where?")
        failures = router.status().to_dict()["record_failures"]
    assert (answers, failures) == (["from tuned"] * 3, 3)
    assert len([line for line in read_records(tmp_path) if line["kind"] == "answer"]) == 2


def test_a_clock_that_was_ahead_holds_money_no_longer_than_a_day(tuned: Target, tmp_path: Path) -> None:
    log = RecordLog(tmp_path)
    for at in (time.time() + 40 * 86_400, time.time() - 2 * 86_400):
        log.append(answer(1, at=at))
    log.close()
    with Router(tuned.priced(), folder=tmp_path, usd_per_day=10) as router:
        assert router.status().to_dict()["spent_usd"]["last_day"] == pytest.approx(0.25)
    with Router(tuned.priced(), folder=tmp_path, usd_per_day=10) as router:  # from the totals of the first
        assert router.status().to_dict()["spent_usd"]["last_day"] == pytest.approx(0.25)
