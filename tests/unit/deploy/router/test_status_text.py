"""The status of a router as text."""

from __future__ import annotations

from typing import Any

from ftsdk.deploy.router.status_text import RouterStatus

ALIAS = {"rollout": "r-1", "champion": "v3", "canary": "v4", "share": 0.05, "reason": "by hand", "at": 0.0}
TARGETS = {"v3": {"url": "http://127.0.0.1:8000/v1", "model": "mails-v3"}}


def trial(*, both: int = 0, champion_only: int = 0, at_least: float | None = None) -> dict[str, Any]:
    return {
        "pairs": {"both": both, "neither": 0, "canary_only": 0, "champion_only": champion_only},
        "limit": {"accepted": 40, "rejected": 10, "at_least": at_least},
        "evidence_worse": 3.0,
        "evidence_better": 0.5,
        "evidence_needed": 40.0,
        "could_be_promoted": False,
    }


def status(**fields: Any) -> str:
    return str(RouterStatus({"route": "mails", "alias": ALIAS, "targets": TARGETS, **fields}))


def test_targets_are_shown_with_a_breaker_only_where_the_router_tells_it() -> None:
    assert "  v3: mails-v3 at http://127.0.0.1:8000/v1\n" in status(trial=trial())
    told = {"v3": {**TARGETS["v3"], "breaker": "open", "opened": 2}}
    assert "/v1, breaker open (opened 2 times)" in status(targets=told)


def test_a_trial_names_the_versions_and_what_its_gate_requires() -> None:
    shown = status(trial=trial(both=3, champion_only=2, at_least=0.9))
    assert "trial: 5 pairs of answers; only v3's was accepted in 2, only v4's in 0" in shown
    assert "evidence that v4 is worse: 3, better: 0.5; 40 decides" in shown
    assert "gate: 40 of 50 answers of v4 were accepted; at least 90% are required" in shown


def test_a_trial_without_pairs_says_what_makes_them() -> None:
    shown = status(trial=trial())
    assert "no pairs of answers yet; `shadow` makes them" in shown
    assert "evidence" not in shown
    assert "gate:" not in shown
