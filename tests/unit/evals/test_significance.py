"""P-values and power: against scipy and statsmodels, and against simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from ftsdk.errors import SpecError
from ftsdk.evals import examples_needed, holm, mcnemar, smallest_difference
from ftsdk.evals.statistics import chance_to_see, paired_t, sign_flips, swaps, t_quantile, t_two_sided


@settings(deadline=None)
@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_agrees_with_statsmodels(only_first: int, only_second: int) -> None:
    expected: Any = reference_mcnemar([[1, only_first], [only_second, 1]], exact=True)
    assert mcnemar(only_first, only_second) == pytest.approx(expected.pvalue, abs=1e-9)


@pytest.mark.parametrize("counts", [(0, 0), (0, 5), (3, 3), (4, 11), (700, 800)])
def test_mid_p_counts_the_observed_outcome_by_half(counts: tuple[int, int]) -> None:
    least, n = min(counts), sum(counts)
    expected = 2 * stats.binom.cdf(least, n, 0.5) - stats.binom.pmf(least, n, 0.5)
    assert mcnemar(*counts, mid_p=True) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-9)


def test_no_p_values_are_adjusted_to_none() -> None:
    assert holm([]) == []


@pytest.mark.parametrize("wrong", [[-0.1], [1.1], [math.nan]])
def test_impossible_p_values_are_refused(wrong: list[float]) -> None:
    with pytest.raises(SpecError, match="p-value"):
        holm(wrong)


@pytest.mark.parametrize("degrees", [0.7, 1, 2.5, 9, 100, 999.5, 1e5, 1e7])
def test_t_agrees_with_scipy(degrees: float) -> None:
    for t in (0.0, 1e-6, 0.5, 1.96, 4.0, 40.0):
        assert t_two_sided(-t, degrees) == pytest.approx(2 * stats.t.sf(t, degrees), abs=1e-9)
    assert t_quantile(0.975, degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


@pytest.mark.parametrize("n", [2, 5, 50, 500])
def test_the_paired_t_test_agrees_with_scipy(n: int) -> None:
    chance = np.random.default_rng(n)
    first, second = chance.random(n), chance.random(n)
    expected = stats.ttest_rel(first, second).pvalue
    assert paired_t(first.tolist(), second.tolist()) == pytest.approx(expected, abs=1e-9)


def test_sign_flips_agree_with_scipy() -> None:
    first, second = [0.1, 0.4, 0.3, 0.9, 0.5, 0.2, 0.8, 0.6], [0.3, 0.5, 0.9, 0.8, 0.7, 0.6, 0.9, 0.7]

    def mean(values: Any, axis: int) -> Any:
        return np.mean(values, axis=axis)

    expected = stats.permutation_test(
        (np.subtract(second, first),), mean, permutation_type="samples", n_resamples=10_000, vectorized=True
    )
    assert sign_flips(first, second) == pytest.approx(expected.pvalue, abs=1e-12)


def test_many_sign_flips_come_near_t_and_repeat() -> None:
    chance = np.random.default_rng(1)
    first = chance.random(60).tolist()
    second = [value + 0.05 + 0.2 * noise for value, noise in zip(first, chance.normal(size=60), strict=True)]
    assert sign_flips(first, second) == pytest.approx(paired_t(first, second), abs=0.03)
    assert sign_flips(first, second, seed=3) == sign_flips(first, second, seed=3)


def test_one_group_proves_nothing() -> None:
    first, second = [0.0] * 40, [1.0] * 40
    assert paired_t(first, second) < 1e-9
    assert paired_t(first, second, groups=["one"] * 40) == 1
    assert sign_flips(first, second, groups=["one"] * 40) == 1
    assert paired_t(first, second, groups=["one"] * 20 + ["two"] * 20) == 0.5


def test_equal_answers_have_the_p_value_one() -> None:
    values = [0.2, 0.7, 0.7]
    assert (mcnemar(0, 0), paired_t(values, values), sign_flips(values, values)) == (1, 1, 1)
    assert swaps(3, lambda is_swapped: 0.0) == 1


def test_swapped_answers_agree_with_sign_flips_for_a_mean() -> None:
    chance = np.random.default_rng(2)
    gains = chance.normal(0.15, 0.4, size=40)

    def difference(is_swapped: Any) -> float:
        return float(np.mean(np.where(is_swapped, -gains, gains)))

    found = swaps(40, difference, rounds=1000)
    assert found == pytest.approx(sign_flips([0.0] * 40, gains.tolist()), abs=0.03)


@pytest.mark.parametrize(("n", "difference", "discordance"), [(50, 0.15, 0.2), (200, 0.1, 0.2), (3000, 0.03, 0.4)])
def test_power_is_how_often_mcnemar_sees_it(n: int, difference: float, discordance: float) -> None:
    parts = [(discordance - difference) / 2, (discordance + difference) / 2, 1 - discordance]
    tables = np.random.default_rng(n).multinomial(n, parts, size=2000)
    seen = np.mean([mcnemar(int(one), int(other)) <= 0.05 for one, other, _ in tables])
    assert chance_to_see(n, difference, discordance=discordance) == pytest.approx(seen, abs=0.035)


def test_power_is_how_often_the_t_test_sees_it() -> None:
    values = np.random.default_rng(4).normal(0.4, 1, size=(4000, 50))
    tested: Any = stats.ttest_1samp(values, 0, axis=1)
    seen = np.mean(tested.pvalue <= 0.05)
    assert chance_to_see(50, 0.4, spread=1.0) == pytest.approx(seen, abs=0.025)


@pytest.mark.parametrize("kind", [{"discordance": 0.1}, {"spread": 0.4}, {"share": 0.9}, {"discordance": 0.0}])
def test_what_is_needed_is_enough_and_what_is_visible_is_seen(kind: dict[str, float]) -> None:
    n = examples_needed(0.05, **kind)
    assert chance_to_see(n, 0.05, **kind) >= 0.8
    assert smallest_difference(n, **kind) <= 0.0501
    assert smallest_difference(4 * n, **kind) < smallest_difference(n, **kind)
    assert examples_needed(0.05, **kind, power=0.9) > n


def test_too_few_examples_see_nothing() -> None:
    assert smallest_difference(3, discordance=0.1) == 1
    assert smallest_difference(1, spread=0.5) == math.inf


def test_impossible_questions_about_power_are_refused() -> None:
    with pytest.raises(SpecError, match="exactly one"):
        smallest_difference(100)
    with pytest.raises(SpecError, match="exactly one"):
        examples_needed(0.1, discordance=0.1, spread=0.3)
    with pytest.raises(SpecError, match="no number of examples"):
        examples_needed(0.0, discordance=0.1)
    with pytest.raises(SpecError, match="difference"):
        examples_needed(1.5, discordance=0.1)
    with pytest.raises(SpecError, match="power"):
        smallest_difference(100, discordance=0.1, power=1.0)
