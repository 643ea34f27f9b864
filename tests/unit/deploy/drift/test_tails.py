import numpy as np
import pytest

from ftsdk.deploy.drift.tails import chi_square_above, weighted_chi_square_above


@pytest.mark.parametrize(("value", "degrees"), [(0.5, 1), (3.84, 1), (5, 9), (20, 9), (100, 9), (300, 60), (1500, 40)])
def test_the_chi_squared_tail_is_scipys(value, degrees):
    stats = pytest.importorskip("scipy.stats")
    assert chi_square_above(value, degrees) == pytest.approx(stats.chi2.sf(value, degrees), rel=1e-9)


def test_the_tail_of_a_weighted_sum_is_what_sampling_gives():
    weights = [1, 0.5, 0.2, 0.1, 0.05]
    sums = (np.random.default_rng(0).chisquare(1, (400_000, 5)) * np.array(weights)).sum(axis=1)
    for value in (4, 8, 12):
        assert weighted_chi_square_above(value, weights) == pytest.approx((sums >= value).mean(), rel=0.12)


def test_with_equal_weights_it_is_the_chi_squared_tail_far_out():
    assert weighted_chi_square_above(100, [1] * 9) == pytest.approx(chi_square_above(100, 9), rel=0.05)
    assert weighted_chi_square_above(1, [1] * 9) == 1.0
