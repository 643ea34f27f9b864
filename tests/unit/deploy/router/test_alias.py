from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftsdk import Endpoint, Router, SpecError
from ftsdk.deploy.router.alias import Alias, AliasFile, StaleRollout, is_in_canary
from ftsdk.deploy.router.records import read_records

V3, V4 = (Endpoint(url="http://127.0.0.1:9/v1", model=name) for name in ("v3", "v4"))


def router(folder: Path, *, canary: float = 0.1) -> Router:
    return Router({"v3": V3, "v4": V4}, canary=canary, folder=folder)


def test_conversations_stay_with_their_version_also_when_the_share_grows() -> None:
    small = Alias(rollout="a", champion="v3", canary="v4", share=0.1)
    large = Alias(rollout="b", champion="v3", canary="v4", share=0.3)
    names = [f"conversation {number}" for number in range(4000)]
    first = {name for name in names if is_in_canary(small, name)}

    assert first <= {name for name in names if is_in_canary(large, name)}
    assert len(first) / len(names) == pytest.approx(0.1, abs=0.02)
    assert not any(is_in_canary(Alias(rollout="c", champion="v3"), name) for name in names)


def test_promote_and_rollback_are_one_write_each_with_a_new_rollout(tmp_path: Path) -> None:
    made = router(tmp_path)
    back = made.rollback(reason="looked bad")
    again = made.switch(canary="v4", share=0.5)
    promoted = made.promote()

    assert (back.champion, back.canary, back.share) == ("v3", None, 0.0)
    assert (promoted.champion, promoted.canary) == ("v4", None)
    assert len({back.rollout, again.rollout, promoted.rollout}) == 3
    assert AliasFile(tmp_path).read() == promoted
    assert [line["why"] for line in read_records(tmp_path)].count("switch") == 1
    assert [path.name for path in tmp_path.glob("*.tmp")] == []


def test_what_was_decided_for_another_rollout_changes_nothing(tmp_path: Path) -> None:
    made = router(tmp_path)
    made.rollback()
    file = AliasFile(tmp_path)
    before = file.read()

    with pytest.raises(StaleRollout):
        file.change(lambda alias: alias or made.config.new_alias(at=0), only_if="r-older")
    assert file.read() == before


def test_a_restart_keeps_the_alias_and_a_new_configuration_starts_anew(tmp_path: Path) -> None:
    back = router(tmp_path).rollback()

    assert router(tmp_path).config.initial_alias() == back
    assert router(tmp_path, canary=0.2).config.initial_alias().canary == "v4"


def test_names_that_no_target_has_are_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'v5'"):
        router(tmp_path).switch("v5")
    with pytest.raises(SpecError, match="go together"):
        router(tmp_path).switch(canary="v4")
    with pytest.raises(SpecError, match="no canary"):
        router(tmp_path, canary=0.0).promote()


def test_a_file_that_is_damaged_while_it_runs_changes_nothing(tmp_path: Path) -> None:
    made = router(tmp_path)
    alias = made.config.initial_alias()
    file = AliasFile(tmp_path)
    assert file.current(0.0) == alias
    file.path.write_text("{")

    assert file.current(10.0) == alias
    with pytest.raises(SpecError, match="isn't JSON"):
        AliasFile(tmp_path).current(0.0)


def test_another_process_is_heard_within_a_moment(tmp_path: Path) -> None:
    made = router(tmp_path)
    made.config.initial_alias()
    file = AliasFile(tmp_path)
    file.current(0.0)
    after = made.rollback()

    assert file.current(0.06) == after
    assert json.loads(file.path.read_text())["champion"] == "v3"
