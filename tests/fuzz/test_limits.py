"""The limits that the other tests here rely on do bite."""

from __future__ import annotations

import time

import pytest
from fuzzing import FuzzCases, limits

pytestmark = pytest.mark.fuzz


def test_a_slow_block_fails() -> None:
    with pytest.raises(AssertionError, match=r"not done after 0\.05 s"), limits(seconds=0.05, mib=64):
        time.sleep(5)


def test_a_large_block_fails() -> None:
    with pytest.raises(AssertionError, match="the limit is 32"), limits(seconds=10, mib=32):
        assert len(bytearray(b"x") * (300 << 20)) > 0


def test_a_case_is_the_same_whatever_was_tried_before() -> None:
    alone = [rng.random() for rng in FuzzCases(seed=1, first=7, count=1)]
    among = [rng.random() for rng in FuzzCases(seed=1, first=0, count=10)]
    assert alone == among[7:8]
