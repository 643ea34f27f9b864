"""Code of others that runs in this process is stopped in time."""

from __future__ import annotations

import contextlib
import time

import pytest

from ftsdk.data.time_limit import time_limit


def _loop() -> None:
    while True:
        with contextlib.suppress(Exception):
            sum(range(100))


def test_a_block_in_time_is_left_alone() -> None:
    with time_limit(60):
        total = sum(range(1000))
    assert total == 499_500


def test_a_loop_is_stopped_even_if_it_catches_errors() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError), time_limit(0.2):
        _loop()
    assert time.monotonic() - started < 30


def test_an_error_of_the_block_passes_and_nothing_is_raised_later() -> None:
    with pytest.raises(ZeroDivisionError), time_limit(0.05):
        _ = 1 / 0
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        sum(range(100))


def test_limits_may_be_nested() -> None:
    with time_limit(60), pytest.raises(TimeoutError), time_limit(0.1):
        _loop()
