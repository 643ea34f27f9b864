"""Epsilon against accounts that others wrote, and the noise that keeps within a budget."""

from __future__ import annotations

import math

import pytest

from ftsdk import SpecError
from ftsdk.backends.trainers.trl.privacy.accounting import epsilon_spent, noise_multiplier_for, steps_within

# noise, rate, steps, delta; then epsilon by dp-accounting 0.6.0 (Google): Rényi with orders that aren't whole numbers
# too, and by privacy loss distributions, which is exact up to discretisation. Computed 2026-11-28.
OTHERS = [
    (1.0, 0.01, 1000, 1e-5, 2.1014, 1.8282),
    (0.6, 0.04, 300, 1e-5, 17.2806, 15.2505),
    (2.0, 0.1, 500, 1e-6, 6.6793, 6.2167),
    (5.0, 0.25, 100, 1e-3, 1.6003, 1.3918),
    (1.1, 256 / 60_000, 14_062, 1e-5, 2.5966, 2.3817),
    (1.5, 1.0, 10, 1e-5, 11.4409, 10.6695),
]


@pytest.mark.parametrize(("noise", "rate", "steps", "delta", "renyi", "exact"), OTHERS)
def test_epsilon_is_that_of_another_library(
    noise: float, rate: float, steps: int, delta: float, renyi: float, exact: float
) -> None:
    ours = epsilon_spent(noise_multiplier=noise, sample_rate=rate, steps=steps, delta=delta)
    assert exact <= ours
    # Whole orders alone are a little above; never below what the tight account says.
    assert renyi * 0.9999 <= ours <= renyi * 1.01


@pytest.mark.parametrize(("noise", "rate", "steps", "delta", "renyi", "exact"), OTHERS[:2])
def test_epsilon_is_that_of_opacus(
    noise: float, rate: float, steps: int, delta: float, renyi: float, exact: float
) -> None:
    accountants = pytest.importorskip("opacus.accountants", reason="the extra 'privacy' isn't installed")
    ours = epsilon_spent(noise_multiplier=noise, sample_rate=rate, steps=steps, delta=delta)
    for kind, expected, tolerance in (
        (accountants.RDPAccountant, renyi, 0.01),
        (accountants.PRVAccountant, exact, 0.02),
    ):
        account = kind()
        account.history = [(noise, rate, steps)]
        found = account.get_epsilon(delta)
        assert found == pytest.approx(expected, rel=tolerance)
        assert found <= ours * 1.0001


def test_epsilon_of_one_step_on_all_rows_has_a_closed_form() -> None:
    """The Gaussian mechanism: minimise over real orders what is computed for whole ones."""
    noise, delta = 4.0, 1e-6

    def of(order: float) -> float:
        renyi = order / (2 * noise**2)
        return renyi + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)

    best = min(of(1 + n / 100) for n in range(1, 20_000))
    assert epsilon_spent(noise_multiplier=noise, sample_rate=1.0, steps=1, delta=delta) == pytest.approx(best, rel=1e-3)


def test_more_steps_and_less_noise_spend_more() -> None:
    few = epsilon_spent(noise_multiplier=1.0, sample_rate=0.1, steps=10, delta=1e-5)
    assert 0 < few < epsilon_spent(noise_multiplier=1.0, sample_rate=0.1, steps=20, delta=1e-5)
    assert few < epsilon_spent(noise_multiplier=0.9, sample_rate=0.1, steps=10, delta=1e-5)
    assert epsilon_spent(noise_multiplier=1.0, sample_rate=0.1, steps=0, delta=1e-5) == 0


@pytest.mark.parametrize(
    ("epsilon", "delta", "rate", "steps"), [(8, 1e-5, 0.04, 75), (0.5, 1e-6, 0.1, 300), (3, 1e-4, 1, 9)]
)
def test_noise_is_the_least_that_keeps_within_the_budget(epsilon: float, delta: float, rate: float, steps: int) -> None:
    noise = noise_multiplier_for(epsilon=epsilon, delta=delta, sample_rate=rate, steps=steps)
    spent = epsilon_spent(noise_multiplier=noise, sample_rate=rate, steps=steps, delta=delta)
    assert 0.99 * epsilon <= spent <= epsilon
    assert epsilon_spent(noise_multiplier=0.998 * noise, sample_rate=rate, steps=steps, delta=delta) > epsilon


def test_a_budget_that_no_noise_keeps_is_refused() -> None:
    with pytest.raises(SpecError, match="allow more epsilon"):
        noise_multiplier_for(epsilon=1e-9, delta=1e-12, sample_rate=1.0, steps=10**6)


@pytest.mark.parametrize(("epochs", "most", "steps"), [(3, None, 21), (0.1, None, 1), (3, 5, 5), (1.5, 100, 11)])
def test_steps_are_counted_as_the_trainer_does(epochs: float, most: int | None, steps: int) -> None:
    assert steps_within(7, epochs, most) == steps
