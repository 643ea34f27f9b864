"""Queueing and scale to zero, against known tables and a simulation."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.cost.serving.traffic import cold_share, erlang_c, max_utilisation, on_fraction, wait_exceeds

TABLE = {
    1: (0.05, 0.05, 0.08, 0.12),
    2: (0.17, 0.19, 0.26, 0.35),
    4: (0.33, 0.36, 0.47, 0.58),
    8: (0.48, 0.52, 0.65, 0.75),
    16: (0.61, 0.66, 0.79, 0.86),
    32: (0.72, 0.77, 0.88, 0.92),
    64: (0.79, 0.85, 0.93, 0.96),
    128: (0.85, 0.90, 0.96, 0.98),
}


@pytest.mark.parametrize("slots", TABLE)
def test_the_highest_utilisation_agrees_with_the_erlang_c_table(slots: int) -> None:
    for patience, expected in zip((0.0, 0.1, 0.5, 1.0), TABLE[slots], strict=True):
        # The table rounds to two digits, and one entry down.
        assert max_utilisation(slots, patience) == pytest.approx(expected, abs=0.0101)


def test_one_slot_waits_as_often_as_it_is_busy() -> None:
    assert erlang_c(1, 0.3) == pytest.approx(0.3)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)


@given(st.integers(1, 200), st.floats(0.01, 0.99), st.floats(0, 5))
def test_waiting_is_a_probability_that_grows_with_load(slots: int, busy: float, patience: float) -> None:
    waits = wait_exceeds(slots, busy, patience)
    assert 0 <= waits <= 1
    assert waits <= wait_exceeds(slots, min(1.0, busy + 0.01), patience) + 1e-12


def test_a_queue_that_gets_more_than_it_can_serve_makes_everybody_wait() -> None:
    assert erlang_c(4, 4.0) == 1
    assert wait_exceeds(4, 1.2, 10.0) == 1


@pytest.mark.parametrize("per_hour", [0.5, 2.0, 10.0, 60.0])
def test_scale_to_zero_agrees_with_a_simulation(per_hour: float) -> None:
    rate, busy, window, cold = per_hour / 3600, 5.0, 300.0, 60.0
    billed, cold_ones, share_cold = _simulate(rate, busy, window, cold)
    assert float(on_fraction(rate, busy_s=busy, idle_window_s=window, cold_start_s=cold)) == pytest.approx(
        billed, abs=0.05
    )
    assert float(cold_share(rate, busy_s=busy, idle_window_s=window)) == pytest.approx(share_cold, abs=0.05)
    assert cold_ones > 0


def _simulate(rate: float, busy: float, window: float, cold: float, arrivals: int = 20_000) -> tuple[float, int, float]:
    """One replica with unlimited slots: it starts when asked asleep, and stops after `window` without a request."""
    chance = random.Random(1)
    now = on_s = 0.0
    free_at, cold_ones = -1e18, 0
    for _ in range(arrivals):
        now += chance.expovariate(rate)
        if now > free_at + window:
            on_s += cold + busy + window
            free_at = now + cold + busy
            cold_ones += 1
        else:
            until = max(free_at, now + busy)
            on_s += until - free_at
            free_at = until
    return on_s / now, cold_ones, cold_ones / arrivals
