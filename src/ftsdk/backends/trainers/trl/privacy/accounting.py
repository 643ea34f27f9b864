"""How much privacy steps of noise on random rows spend, and how much noise a budget needs. Pure Python, for plans.

The worker lets opacus count as well: two accounts of the same steps.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

from ftsdk.errors import SpecError

__all__ = ["ORDERS", "epsilon_spent", "noise_multiplier_for", "steps_within"]

ORDERS: tuple[int, ...] = (*range(2, 64), 72, 80, 96, 112, 128, 160, 192, 256, 384, 512, 1024)
"""Orders of the Rényi divergence; a small budget is best told by a high one."""
_MOST_NOISE = 1e5
_LEAST_NOISE = 0.05
_CLOSE_ENOUGH = 1e-4
"""Of the noise multiplier, relative."""


def epsilon_spent(*, noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """Return the epsilon that a training has spent, by Rényi differential privacy.

    Each step takes every row with the same probability, and adds Gaussian noise to the sum of clipped gradients.

    Args:
        noise_multiplier: Standard deviation of the noise, in units of the clipping norm.
        sample_rate: Probability of a row to be in a step.
        steps: Optimizer steps.
        delta: Probability with which the promise may fail.

    Source: Mironov, Talwar, Zhang, https://arxiv.org/abs/1908.10530, section 3.3, for each order; to epsilon by
    Canonne, Kamath, Steinke, https://arxiv.org/abs/2004.00010, proposition 12. Read 2026-11-28.
    """
    if steps == 0:
        return 0.0
    found = math.inf
    for order in ORDERS:
        divergence = steps * _divergence(noise_multiplier, sample_rate, order)
        epsilon = divergence + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
        found = min(found, epsilon)
    return max(0.0, found)


def noise_multiplier_for(*, epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """Return the least noise with which a training of so many steps stays within its budget.

    Raises:
        SpecError: No noise is enough.
    """
    low, high = _LEAST_NOISE, 1.0

    def is_enough(noise: float) -> bool:
        return epsilon_spent(noise_multiplier=noise, sample_rate=sample_rate, steps=steps, delta=delta) <= epsilon

    while not is_enough(high):
        low, high = high, 2 * high
        if high > _MOST_NOISE:
            raise SpecError(
                f"no noise keeps {steps:,} steps within privacy.epsilon={epsilon:g} at delta={delta:g}; allow more "
                "epsilon, or train for fewer epochs"
            )
    while high - low > _CLOSE_ENOUGH * high:
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    # Rounded up, so that the plan shows the number that is used.
    return math.ceil(high * 10_000) / 10_000


def steps_within(steps_per_epoch: int, epochs: float, max_steps: int | None) -> int:
    """Return the optimizer steps of a training, as transformers counts them."""
    steps = max(1, math.ceil(steps_per_epoch * epochs))
    return steps if max_steps is None else min(steps, max_steps)


@lru_cache(maxsize=4096)
def _divergence(noise_multiplier: float, sample_rate: float, order: int) -> float:
    """Return the Rényi divergence of one step, of a whole order."""
    variance = noise_multiplier**2
    if sample_rate >= 1:
        return order / (2 * variance)
    log_q, log_rest = math.log(sample_rate), math.log1p(-sample_rate)
    terms = [
        _log_choose(order, k) + k * log_q + (order - k) * log_rest + (k * k - k) / (2 * variance)
        for k in range(order + 1)
    ]
    most = max(terms)
    log_sum = most + math.log(math.fsum(math.exp(term - most) for term in terms))
    return max(0.0, log_sum) / (order - 1)


@cache
def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
