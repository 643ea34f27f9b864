"""A canary that gets worse is turned back while it serves, with the evidence on record."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from routed_targets import Target, completion

from ftsdk import BackendError, Router
from ftsdk.deploy.router.alias import AliasFile
from ftsdk.deploy.router.records import read_records


def is_right(messages: Sequence[Mapping[str, Any]], answer: str) -> bool:
    return answer == "right"


def mostly(quality: float, seed: int) -> Any:
    chance = random.Random(seed)
    return lambda _: completion("right" if chance.random() < quality else "wrong")


def ask(router: Router, number: int) -> None:
    with contextlib.suppress(BackendError):  # both were wrong
        router.complete(f"{number}?")


def until(is_so: Any, step: Any, *, most: int) -> int:
    for number in range(most):
        if is_so():
            return number
        step(number)
    deadline = time.monotonic() + 20
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return most


def versions(good: Target, bad: Target, folder: Path, **options: Any) -> Router:
    return Router(
        {"v3": good.endpoint("v3"), "v4": bad.endpoint("v4")},
        canary=0.5,
        shadow=1.0,
        validator=options.pop("validator", is_right),
        folder=folder,
        **options,
    )


def test_a_worse_canary_is_turned_back_with_the_evidence_on_record(
    tuned: Target, frontier: Target, tmp_path: Path
) -> None:
    frontier.behaviour = mostly(0.95, 1)
    tuned.behaviour = mostly(0.5, 2)
    with versions(frontier, tuned, tmp_path) as router:
        first = router.config.initial_alias()
        file = AliasFile(tmp_path)
        until(lambda: file.read().canary is None, lambda n: ask(router, n), most=400)  # type: ignore[union-attr]
        time.sleep(0.06)
        assert router.status().to_dict()["alias"]["canary"] is None

    after = file.read()
    assert after is not None
    assert (after.champion, after.canary, after.share) == ("v3", None, 0.0)
    assert after.rollout != first.rollout
    assert after.evidence is not None
    assert after.evidence["capital"] >= 20
    lines = list(read_records(tmp_path))
    (switch,) = [line for line in lines if line["kind"] == "switch"]
    assert (switch["why"], switch["from"], switch["to"]) == ("rollback", "v4", "v3")
    assert "worse than v3" in switch["reason"]
    pairs = [line for line in lines if line["kind"] == "pair"]
    assert {line["rollout"] for line in pairs} == {first.rollout}
    assert sum(after.evidence["pairs"].values()) <= len(pairs)


def test_a_better_canary_is_promoted_if_asked_to(tuned: Target, frontier: Target, tmp_path: Path) -> None:
    frontier.behaviour, tuned.behaviour = mostly(0.5, 1), mostly(0.98, 2)
    with versions(frontier, tuned, tmp_path, promotes=True) as router:
        file = router.config.alias_file()
        until(lambda: file.read().champion == "v4", lambda n: ask(router, n), most=400)  # type: ignore[union-attr]
    after = file.read()
    assert after is not None
    assert (after.champion, after.canary) == ("v4", None)


def test_a_single_tuned_model_is_on_trial_beside_the_fallback(tuned: Target, frontier: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint(), fallback=frontier.endpoint(), canary=0.3, shadow=0.0, folder=tmp_path) as router:
        arms = [router.complete(f"{n}?").record.arm for n in range(60)]
        assert {"tuned", "fallback"} == set(arms)
        assert arms.count("tuned") < arms.count("fallback")
        router.promote()
        time.sleep(0.06)
        assert {router.complete(f"{n}?").record.arm for n in range(20)} == {"tuned"}


def test_a_judge_decides_over_pairs_in_the_background(tuned: Target, frontier: Target, tmp_path: Path) -> None:
    frontier.text, tuned.text = "right", "wrong"
    with versions(frontier, tuned, tmp_path, validator=None, judge=is_right) as router:
        file = router.config.alias_file()
        asked = until(lambda: file.read().canary is None, lambda n: ask(router, n), most=200)  # type: ignore[union-attr]
    assert asked <= 200
    assert {line["by"] for line in read_records(tmp_path) if line["kind"] == "pair"} == {"judge"}
    after = file.read()
    assert after is not None
    assert after.canary is None


def test_users_turn_back_what_they_dislike(tuned: Target, frontier: Target, tmp_path: Path) -> None:
    with versions(frontier, tuned, tmp_path, validator=None, uses_feedback=True) as router:
        file = router.config.alias_file()

        def judge(number: int) -> None:
            answer = router.complete(f"{number}?")
            router.feedback(answer.id, accepted=answer.record.arm == "v3")

        until(lambda: file.read().canary is None, judge, most=200)  # type: ignore[union-attr]
    after = file.read()
    assert after is not None
    assert after.canary is None
    assert after.evidence is not None
    assert after.evidence["test"] == "feedback"


def test_samples_of_an_earlier_rollout_do_not_count_and_those_of_this_one_survive_a_restart(
    tuned: Target, frontier: Target, tmp_path: Path
) -> None:
    def pairs(router: Router) -> int:
        return sum(router.status().to_dict()["trial"]["pairs"].values())

    with versions(frontier, tuned, tmp_path, validator=None) as router:
        for number in range(12):
            router.complete(f"{number}?")
        deadline = time.monotonic() + 20
        while not pairs(router) and time.monotonic() < deadline:
            time.sleep(0.02)
    with versions(frontier, tuned, tmp_path, validator=None) as router:
        before = pairs(router)
        assert before > 0
        assert sum(router.recorded_status().to_dict()["trial"]["pairs"].values()) == before
        router.switch(canary="v4", share=0.4)
        time.sleep(0.06)
        assert pairs(router) == 0


def test_two_routers_do_not_share_a_folder(tuned: Target, tmp_path: Path) -> None:
    with Router(tuned.endpoint(), folder=tmp_path), pytest.raises(Exception, match="another router"):
        Router(tuned.endpoint(), folder=tmp_path).complete("?")
