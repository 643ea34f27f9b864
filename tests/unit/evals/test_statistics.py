"""Intervals: against published values, and what must hold for all counts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.evals import paired_difference_interval, wilson_interval

COUNTS = st.tuples(*(st.integers(0, 500),) * 4).filter(lambda counts: sum(counts) > 0)
SUCCESSES = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_interval_gives_the_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_the_paired_interval_gives_the_published_value() -> None:
    # Newcombe, Statistics in Medicine 17 (1998) 2635-2650, table II, method 10, for the counts 36, 12, 2, 0.
    assert paired_difference_interval(36, 2, 12, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)


@settings(deadline=None)
@given(SUCCESSES, st.floats(0.5, 0.999))
def test_a_wilson_interval_holds_the_share_and_stays_a_share(counts: tuple[int, int], confidence: float) -> None:
    successes, n = counts
    low, high = wilson_interval(successes, n, confidence)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1


@settings(deadline=None)
@given(SUCCESSES)
def test_a_wilson_interval_shrinks_with_more_examples_and_grows_with_confidence(counts: tuple[int, int]) -> None:
    successes, n = counts
    low, high = wilson_interval(successes, n)
    more_low, more_high = wilson_interval(4 * successes, 4 * n)
    sure_low, sure_high = wilson_interval(successes, n, 0.99)
    assert more_high - more_low < high - low < sure_high - sure_low


@settings(deadline=None)
@given(SUCCESSES)
def test_a_wilson_interval_of_the_failures_is_the_mirror_image(counts: tuple[int, int]) -> None:
    successes, n = counts
    low, high = wilson_interval(successes, n)
    assert wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@settings(deadline=None)
@given(COUNTS)
def test_a_paired_interval_holds_the_difference_and_turns_with_the_sides(counts: tuple[int, int, int, int]) -> None:
    both, only_first, only_second, neither = counts
    difference = (only_second - only_first) / sum(counts)
    low, high = paired_difference_interval(*counts)
    assert -1 <= low <= difference + 1e-12
    assert difference - 1e-12 <= high <= 1
    assert paired_difference_interval(both, only_second, only_first, neither) == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize("arguments", [(1, 0), (-1, 5), (6, 5), (1, 5, 0.0), (1, 5, 1.0)])
def test_impossible_arguments_of_a_wilson_interval_are_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must"):
        wilson_interval(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (-1, 1, 1, 1)])
def test_impossible_counts_of_a_paired_interval_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="counts"):
        paired_difference_interval(*counts)
