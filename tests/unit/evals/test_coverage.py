"""How often intervals hold the truth: `benchmarks/bench_intervals.py` in a small form, and intervals of groups."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ftsdk.errors import SpecError
from ftsdk.evals import paired_difference_interval
from ftsdk.evals.statistics import bootstrap_interval, mean_interval, paired_mean_interval
from ftsdk.evals.statistics.clusters import clustered_mean


@pytest.mark.parametrize(
    ("n", "cells"),
    # Both right, only the first, only the second, neither.
    [(50, (0.4, 0.1, 0.2, 0.3)), (200, (0.94, 0.02, 0.03, 0.01)), (1000, (0.975, 0.01, 0.01, 0.005))],
)
def test_the_paired_interval_holds_the_difference(n: int, cells: tuple[float, ...]) -> None:
    tables, times = np.unique(np.random.default_rng(n).multinomial(n, cells, size=2000), axis=0, return_counts=True)
    truth = cells[2] - cells[1]
    ends = [paired_difference_interval(*map(int, table)) for table in tables]
    held = np.average([low <= truth + 1e-9 and truth - 1e-9 <= high for low, high in ends], weights=times)
    assert 0.93 <= held <= 0.97


@pytest.mark.parametrize("n", [50, 200])
def test_the_interval_of_scores_near_1_holds_the_mean(n: int) -> None:
    values = np.random.default_rng(n).beta(20, 0.5, (1000, n)).tolist()
    ends = [mean_interval(row, is_bounded=True) for row in values]
    held = np.mean([low <= 20 / 20.5 <= high for low, high, _ in ends])
    assert 0.93 <= held <= 0.97


@pytest.mark.parametrize("count", [5, 20])
def test_the_interval_of_groups_holds_the_mean(count: int) -> None:
    chance = np.random.default_rng(count)
    held = 0
    for _ in range(1000):
        groups = np.repeat(np.arange(count), 5 + chance.integers(0, 11, size=count))
        values = 0.5 * chance.normal(size=count)[groups] + chance.normal(size=len(groups))
        low, high, method = mean_interval(values.tolist(), is_bounded=False, groups=groups.tolist())
        held += low <= 0 <= high
        assert method == "clustered"
    assert 0.93 <= held / 1000 <= 0.97


def test_groups_of_one_example_each_change_nothing() -> None:
    values = np.random.default_rng(3).normal(size=30).tolist()
    alone = mean_interval(values, is_bounded=False)
    assert mean_interval(values, is_bounded=False, groups=range(30))[:2] == pytest.approx(alone[:2])
    found = clustered_mean(values, range(30))
    assert found.standard_error == pytest.approx(stats.sem(values))
    assert found.degrees == pytest.approx(29)


def test_groups_of_equal_size_are_as_sure_as_their_means() -> None:
    values = np.random.default_rng(4).normal(size=(8, 5))
    found = clustered_mean(values.ravel().tolist(), np.repeat(np.arange(8), 5).tolist())
    assert found.standard_error == pytest.approx(stats.sem(values.mean(axis=1)))
    assert found.degrees == pytest.approx(7)


def test_copies_of_the_same_examples_add_no_certainty() -> None:
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    low, high, _ = mean_interval(values * 20, is_bounded=True, groups=list(range(8)) * 20)
    once = mean_interval(values, is_bounded=True)
    assert high - low > 0.9 * (once.high - once.low)
    second = [1.0] * 8
    paired = paired_mean_interval(values * 20, second * 20, is_bounded=True, groups=list(range(8)) * 20)
    alone = paired_mean_interval(values, second, is_bounded=True)
    assert paired.high - paired.low > 0.9 * (alone.high - alone.low)


def test_a_single_group_says_nothing() -> None:
    values, groups = [1.0, 0.0, 1.0], ["one"] * 3
    assert mean_interval(values, is_bounded=True, groups=groups) == (0.0, 1.0, "clustered")
    assert mean_interval(values, is_bounded=False, groups=groups) == (-math.inf, math.inf, "clustered")
    assert paired_mean_interval(values, values, is_bounded=True, groups=groups) == (-1.0, 1.0, "clustered")
    ends = paired_mean_interval(values, values, is_bounded=False, groups=groups)[:2]
    assert ends == (-math.inf, math.inf)
    assert bootstrap_interval(3, lambda drawn: 0.0, groups=groups)[:2] == (-math.inf, math.inf)


def test_groups_without_a_wrong_answer_leave_room_for_one() -> None:
    low, high, _ = mean_interval([1.0] * 100, is_bounded=True, groups=[n // 20 for n in range(100)])
    assert low == pytest.approx(mean_interval([1.0] * 5, is_bounded=True).low)
    assert high == 1


def test_the_bootstrap_of_few_groups_is_as_wide_as_t() -> None:
    groups = [n // 10 for n in range(60)]
    chance = np.random.default_rng(5)
    values = (chance.normal(size=6)[groups] + 0.1 * chance.normal(size=60)).tolist()
    found = bootstrap_interval(60, lambda drawn: math.fsum(values[n] for n in drawn) / len(drawn), groups=groups)
    plain = mean_interval(values, is_bounded=False, groups=groups)
    assert found.high - found.low > 0.75 * (plain.high - plain.low)


def test_huge_values_overflow_nothing() -> None:
    low, high, _ = mean_interval([1e300, -1e300, 1e299], is_bounded=False)
    assert -math.inf < low < 3.4e298 < high < math.inf


def test_as_many_groups_as_examples_are_needed() -> None:
    with pytest.raises(SpecError, match="groups"):
        mean_interval([1.0, 0.0], is_bounded=True, groups=["one"])
    with pytest.raises(SpecError, match="same examples"):
        paired_mean_interval([1.0, 0.0], [1.0], is_bounded=True)
