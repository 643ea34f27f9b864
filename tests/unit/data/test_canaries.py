from __future__ import annotations

import pytest

from ftsdk.data.growing import canaries


def test_canaries_are_unique_and_repeat_with_their_seed() -> None:
    found = canaries(200, seed=7, times=(1, 4))
    assert found == canaries(200, seed=7, times=(1, 4))
    assert found != canaries(200, seed=8, times=(1, 4))
    assert len({canary.prompt for canary in found}) == len({canary.secret for canary in found}) == 200
    assert [canary.times for canary in found[:3]] == [1, 4, 1]


def test_a_canary_is_a_chat_row_with_a_record() -> None:
    (canary,) = canaries(1, seed=0)
    assert [message["role"] for message in canary.messages] == ["user", "assistant"]
    assert canary.to_dict()["secret"] == canary.messages[1]["content"]
    assert canary.secret not in canary.prompt


def test_impossible_canaries_are_refused() -> None:
    with pytest.raises(ValueError, match="count"):
        canaries(-1, seed=0)
    with pytest.raises(ValueError, match="times"):
        canaries(1, seed=0, times=())
