"""Intervals: against published values, and what must hold for all counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.errors import SpecError
from ftsdk.evals import paired_difference_interval, wilson_interval
from ftsdk.evals.statistics import (
    bootstrap_interval,
    mean_interval,
    paired_mean_interval,
    paired_t,
    sign_flips,
    t_quantile,
)

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
    newcombe = paired_difference_interval(36, 2, 12, 0, method="newcombe")
    assert newcombe == pytest.approx((0.0569, 0.3404), abs=5e-5)
    # The airway data of Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014) 2850-2875: 1, 1, 7, 12.
    assert paired_difference_interval(1, 7, 1, 12) == pytest.approx((-0.517, -0.026), abs=5e-4)


@settings(deadline=None)
@given(SUCCESSES, st.floats(0.5, 0.999))
def test_a_wilson_interval_holds_the_share_and_stays_a_share(counts: tuple[int, int], confidence: float) -> None:
    successes, n = counts
    low, high = wilson_interval(successes, n, confidence)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1


@settings(deadline=None)
@given(SUCCESSES)
def test_a_wilson_interval_shrinks_with_n_and_grows_with_confidence(counts: tuple[int, int]) -> None:
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


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    # NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2, column 0.975.
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (10, 2.228), (30, 2.042), (100, 1.984)],
)
def test_t_quantiles_match_the_published_table(degrees: int, quantile: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(quantile, abs=5e-4)


def test_t_quantiles_join_where_the_expansion_takes_over() -> None:
    assert t_quantile(0.975, 500) == pytest.approx(t_quantile(0.975, 501), abs=1e-4)
    assert t_quantile(0.975, 10**9) == pytest.approx(1.959964, abs=1e-6)


def test_graded_values_get_a_t_interval() -> None:
    # mean 0.5, standard deviation sqrt(0.05 / 3 * 2), worked by hand: 0.5 ± 3.182 * 0.1291 / 2 = 0.5 ± 0.2054
    low, high, method = mean_interval([0.35, 0.45, 0.55, 0.65], is_bounded=True)
    assert (low, high, method) == (pytest.approx(0.2946, abs=1e-4), pytest.approx(0.7054, abs=1e-4), "t")


def test_zeros_and_ones_get_the_intervals_of_shares() -> None:
    assert mean_interval([1.0, 0.0, 1.0], is_bounded=True) == (*wilson_interval(2, 3), "wilson")
    paired = paired_mean_interval([1.0, 0.0, 0.0], [1.0, 1.0, 0.0], is_bounded=True)
    assert paired == (*paired_difference_interval(1, 0, 1, 1), "tango")


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5]])
def test_values_that_do_not_vary_still_get_an_honest_interval(values: list[float]) -> None:
    low, high, _ = mean_interval(values, is_bounded=True)
    assert low < 0.3 < 0.7 < high
    low, high, _ = paired_mean_interval([0.4 for _ in values], values, is_bounded=True)
    assert low < 0 < high


def test_one_unbounded_value_says_nothing_about_the_mean() -> None:
    assert mean_interval([7.0], is_bounded=False)[:2] == (float("-inf"), float("inf"))
    assert paired_mean_interval([7.0], [9.0], is_bounded=False)[:2] == (float("-inf"), float("inf"))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_graded_intervals_hold_their_estimate_and_stay_in_range(pairs: list[tuple[float, float]]) -> None:
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    mean = sum(first) / len(first)
    low, high, _ = mean_interval(first, is_bounded=True)
    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
    difference = sum(second) / len(second) - mean
    low, high, _ = paired_mean_interval(first, second, is_bounded=True)
    assert -1 <= low <= difference + 1e-9
    assert difference - 1e-9 <= high <= 1


def test_the_bootstrap_of_a_mean_agrees_with_t_and_repeats() -> None:
    values = [n / 200 for n in range(200)]

    def mean(drawn: Sequence[int]) -> float:
        return sum(values[n] for n in drawn) / len(drawn)

    found = bootstrap_interval(len(values), mean)
    assert found[:2] == pytest.approx(mean_interval(values, is_bounded=True)[:2], abs=0.01)
    assert bootstrap_interval(len(values), mean) == found


@pytest.mark.parametrize(
    "rule", [mean_interval, lambda values, is_bounded: paired_mean_interval(values, values, is_bounded=is_bounded)]
)
def test_no_values_are_refused(rule: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        rule([], is_bounded=True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e301, 10**400])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    values, plain = [0.5, value, 0.5], [0.0, 0.0, 0.0]
    with pytest.raises(SpecError, match="finite"):
        mean_interval(values, is_bounded=False)
    for first, second in ((values, plain), (plain, values)):
        with pytest.raises(SpecError, match="finite"):
            paired_mean_interval(first, second, is_bounded=True)
        for test in (paired_t, sign_flips):
            with pytest.raises(SpecError, match="finite"):
                test(first, second)


def test_a_statistic_that_fails_on_a_resample_has_no_interval() -> None:
    with pytest.raises(SpecError, match="every resample"):
        bootstrap_interval(5, lambda drawn: math.nan if len(set(drawn)) == 1 else 0.5)


@pytest.mark.parametrize("value", [-0.1, 1.1, 1e300])
def test_values_beyond_their_bounds_are_refused(value: float) -> None:
    with pytest.raises(SpecError, match="between 0 and 1"):
        mean_interval([0.5, value], is_bounded=True)
    with pytest.raises(SpecError, match="between 0 and 1"):
        paired_mean_interval([0.5, 0.5], [0.5, value], is_bounded=True)
