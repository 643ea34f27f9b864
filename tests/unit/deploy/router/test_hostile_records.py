"""Records and aliases that something else has written: a damaged disk, a later version, or somebody who means harm."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from routed_targets import Target

from ftsdk import Router
from ftsdk.deploy.monitor import Monitor
from ftsdk.deploy.router.record_lines import LONGEST_LINE, finished_lines, record_in

NOW = 1_764_000_000.0
ANSWER: dict[str, Any] = {
    "kind": "answer", "id": "r1", "at": NOW - 60, "route": "mails", "arm": "v3", "role": "tuned", "rollout": "r-1",
    "outcome": "answered", "duration_s": 0.2, "cost_usd": 0.5, "slice": None, "error": None,
    "attempts": [{"arm": "v3", "role": "canary", "outcome": "answered", "cost_usd": 0.5}],
}  # fmt: skip
SWITCH = {"kind": "switch", "at": NOW - 9, "from": "a", "to": "b", "why": "rollback", "reason": "r"}
SHADOW = {"kind": "shadow", "id": "r1", "at": NOW, "rollout": "r-1", "attempt": {"role": "shadow", "cost_usd": 0.1}}
ODD: list[Any] = [
    None, True, -1, 1e308, float("nan"), float("inf"), 10**400, "x", "nan", "\ud800", "\x1b]0;t\x07", "<script>x", [],
    {}, [5], [{"cost_usd": float("nan")}], [{"cost_usd": -1e9}], [{"cost_usd": True}], {"cost_usd": "5"},
]  # fmt: skip


@pytest.mark.parametrize("record", [ANSWER, SWITCH, SHADOW], ids=["answer", "switch", "shadow"])
def test_no_value_in_a_record_breaks_the_monitor_or_the_limits(record: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    with (tmp_path / "records" / "20251124-a.jsonl").open("w") as file:
        for line in (ANSWER, *({**record, name: odd} for name in record if name != "kind" for odd in ODD)):
            file.write(json.dumps(line) + "\n")
    report = Monitor(tmp_path, clock=lambda: NOW).report()
    shown = str(report)
    assert "\x1b" not in shown
    assert shown.encode()
    assert "<script>x" not in report.to_html()
    assert json.dumps(report.to_dict(), allow_nan=False)


def test_what_was_spent_is_never_lowered_and_a_clock_set_back_holds_nothing_longer(
    tuned: Target, tmp_path: Path
) -> None:
    (tmp_path / "records").mkdir()
    at = time.time()
    odd = [float("nan"), -5.0, True, "9", 10**400]
    lines = [{**ANSWER, "at": at, "attempts": [{"role": "tuned", "cost_usd": cost}]} for cost in odd]
    lines += [{**ANSWER, "at": at}, {**ANSWER, "at": at + 10**6}, {**ANSWER, "attempts": "x"}]
    (tmp_path / "records" / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Router(tuned.priced(), folder=tmp_path, usd_per_day=100) as router:
        spent = router.status().to_dict()["spent_usd"]["last_day"]
        found = router.complete("Where?", max_tokens=5)
    assert spent == 1.0
    assert found.text == "from tuned"


def test_lines_of_any_length_take_little_memory_and_the_next_ones_are_read() -> None:
    good = b'{"kind":"a"}\n'
    file = io.BytesIO(good + b"x" * (3 * LONGEST_LINE + 5) + b"\n" + good + b'{"kind":"ha')
    assert list(finished_lines(file)) == [good, good]
    assert file.read() == b'{"kind":"ha'


def test_records_are_files_and_nothing_that_waits(tuned: Target, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    os.mkfifo(tmp_path / "records" / "0.jsonl")
    with Router(tuned.endpoint(), folder=tmp_path) as router:
        assert router.status().alias.champion == "tuned"
    assert Monitor(tmp_path, clock=lambda: NOW).report().whole.requests == 0


@pytest.mark.parametrize("text", [b"[]", b"5", b"{", b'{"kind": 5}', b'{"kind": "answer", "at": "x"}', b"[" * 99_999])
def test_what_is_no_record_is_none(text: bytes) -> None:
    assert record_in(text) is None


@pytest.mark.parametrize("named", [{"champion": "other"}, {"champion": ""}, {"canary": "other", "share": 1.0}])
def test_an_alias_of_another_configuration_costs_no_request(
    named: dict[str, Any], tuned: Target, tmp_path: Path
) -> None:
    with Router(tuned.endpoint(), folder=tmp_path) as router:
        router.complete("Where?")
        state = json.loads((tmp_path / "state.json").read_text())
        (tmp_path / "state.json").write_text(json.dumps({**state, **named}))
        time.sleep(0.06)  # the alias is looked at every 50 ms
        assert router.complete("Where?").text == "from tuned"
    with Router(tuned.endpoint(), folder=tmp_path) as router:  # and a new start takes the configuration
        assert router.complete("Where?").text == "from tuned"
