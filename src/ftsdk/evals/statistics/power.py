"""Power: what a test set can see, and how many examples a difference takes."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import Any

from ftsdk.errors import SpecError
from ftsdk.evals.statistics.distributions import binomial_half, t_quantile, t_two_sided
from ftsdk.evals.statistics.interval import check_confidence
from ftsdk.spec.amounts import check_amount

__all__ = ["chance_to_see", "examples_needed", "smallest_difference", "two_digits"]

_MOST_EXACT = 1000
"""Expected discordant examples up to which the exact test is worked out; above, the normal distribution is exact."""
_MOST_EXAMPLES = 10**9


def chance_to_see(
    n: int,
    difference: float,
    *,
    discordance: float | None = None,
    spread: float | None = None,
    share: float | None = None,
    confidence: float = 0.95,
) -> float:
    """Return the power: the probability that `n` examples show a difference as more than chance.

    For right and wrong answers it is that of McNemar's exact test, for graded ones that of the paired t test.

    Args:
        n: Examples, answered by both targets.
        difference: The true difference of the means; its sign doesn't matter.
        discordance: The share of examples on which one target is right and the other wrong. At least the difference: a
            smaller one is taken for it.
        spread: The standard deviation of the differences by example, for graded answers.
        share: The share of right answers, if nothing else is known: the discordance of two targets that have this share
            and are right independently of each other, which is the worst case in practice.
        confidence: 1 minus the level of the test.

    Raises:
        SpecError: A number out of range, or not exactly one of `discordance`, `spread` and `share`.

    Source: the distribution of the discordant examples is binomial; Lachin, Statistics in Medicine 11 (1992) 1239-1251
    for its normal approximation; Student's t moved by difference / standard error in place of noncentral t.
    """
    check_amount("n", n, at_least=1, at_most=_MOST_EXAMPLES, is_whole=True)
    outcomes = _outcomes(discordance, spread, share)
    _check_difference(difference, is_share="discordance" in outcomes)
    return _power(n, abs(difference), **outcomes, alpha=1 - check_confidence(confidence))


def smallest_difference(
    n: int,
    *,
    discordance: float | None = None,
    spread: float | None = None,
    share: float | None = None,
    power: float = 0.8,
    confidence: float = 0.95,
) -> float:
    """Return the smallest true difference that `n` examples show with probability `power`.

    Args:
        n: Examples, answered by both targets.
        discordance: As for `chance_to_see`, as the next two.
        spread: The standard deviation of the differences by example, for graded answers.
        share: The share of right answers, if nothing else is known.
        power: The probability with which it is to be shown.
        confidence: 1 minus the level of the test.

    Returns:
        A difference of shares, or of means in the unit of `spread`. 1, the largest there is, or infinity, where not
        even that is shown so often.

    Raises:
        SpecError: A number out of range, or not exactly one of `discordance`, `spread` and `share`.
    """
    check_amount("n", n, at_least=1, at_most=_MOST_EXAMPLES, is_whole=True)
    outcomes, alpha = _outcomes(discordance, spread, share), _alpha_of(power, confidence)
    if spread is None:
        low, high = 0.0, 1.0
    elif n < 2:
        return math.inf
    else:
        low, high = 0.0, spread
        while _power(n, high, **outcomes, alpha=alpha) < power and high > 0:
            high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        is_seen = _power(n, middle, **outcomes, alpha=alpha) >= power
        low, high = (low, middle) if is_seen else (middle, high)
    return high


def examples_needed(
    difference: float,
    *,
    discordance: float | None = None,
    spread: float | None = None,
    share: float | None = None,
    power: float = 0.8,
    confidence: float = 0.95,
) -> int:
    """Return how many examples show a true difference with probability `power`.

    Args:
        difference: The true difference of the means, not 0; its sign doesn't matter.
        discordance: As for `chance_to_see`, as the next two.
        spread: The standard deviation of the differences by example, for graded answers.
        share: The share of right answers, if nothing else is known.
        power: The probability with which it is to be shown.
        confidence: 1 minus the level of the test.

    Raises:
        SpecError: A number out of range, more than a billion examples, or not exactly one of `discordance`, `spread`
            and `share`.
    """
    outcomes, alpha = _outcomes(discordance, spread, share), _alpha_of(power, confidence)
    _check_difference(difference, is_share="discordance" in outcomes)
    gap = abs(difference)

    def is_enough(n: int) -> bool:
        return _power(n, gap, **outcomes, alpha=alpha) >= power

    high = 2
    while gap == 0 or not is_enough(high):
        high *= 2
        if gap == 0 or high > _MOST_EXAMPLES:
            raise SpecError(f"no number of examples shows a difference of {difference:g}; ask for a larger one")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def two_digits(n: int) -> int:
    """Return an estimated number of examples rounded to two digits, below 100 as it is: more aren't known."""
    return n if n < 100 else round(n, 1 - math.floor(math.log10(n)))


def _outcomes(discordance: float | None, spread: float | None, share: float | None) -> dict[str, float]:
    if sum(value is not None for value in (discordance, spread, share)) != 1:
        raise SpecError("pass exactly one of discordance=, spread= and share=")
    if spread is not None:
        check_amount("spread", spread, at_least=0)
        return {"spread": spread}
    if share is not None:
        check_amount("share", share, at_least=0, at_most=1)
        return {"discordance": 2 * share * (1 - share)}
    check_amount("discordance", discordance, at_least=0, at_most=1)
    return {"discordance": discordance or 0.0}


def _check_difference(difference: float, *, is_share: bool) -> None:
    most = 1 if is_share else 1e12
    check_amount("difference", difference, at_least=-most, at_most=most)


def _alpha_of(power: float, confidence: float) -> float:
    check_amount("power", power, above=0, at_most=0.9999)
    return 1 - check_confidence(confidence)


def _power(n: int, difference: float, *, alpha: float, discordance: float = 0.0, spread: float | None = None) -> float:
    if spread is not None:
        return _power_of_t(n, difference, spread, alpha)
    discordance = max(discordance, difference)
    if discordance <= 0:
        return 0.0
    if n * discordance > _MOST_EXACT:
        z = NormalDist().inv_cdf(1 - alpha / 2)
        deviation = math.sqrt(max(discordance - difference**2, 1e-12))
        limit, shift = z * math.sqrt(discordance) / deviation, difference * math.sqrt(n) / deviation
        return NormalDist().cdf(shift - limit) + NormalDist().cdf(-shift - limit)
    return _power_of_mcnemar(n, difference, discordance, alpha)


def _power_of_t(n: int, difference: float, spread: float, alpha: float) -> float:
    if n < 2:
        return 0.0
    if spread == 0:
        return 1.0 if difference else 0.0
    shift, limit = difference * math.sqrt(n) / spread, t_quantile(1 - alpha / 2, n - 1)

    def above(t: float) -> float:
        tail = t_two_sided(t, n - 1) / 2
        return tail if t > 0 else 1 - tail

    return above(limit - shift) + above(limit + shift)


def _power_of_mcnemar(n: int, difference: float, discordance: float, alpha: float) -> float:
    import numpy as np

    middle, width = n * discordance, 8 * math.sqrt(n * discordance * (1 - discordance)) + 8
    low, high = max(0, math.floor(middle - width)), min(n, math.ceil(middle + width))
    logs = _log_factorials(_round_up(high))
    if discordance == 1:
        discordant, weights = np.array([n]), np.array([1.0])
    else:
        discordant = np.arange(low, high + 1, dtype=np.int64)[:: 1 + (high - low) // 200]
        rest = n - discordant
        # Without the factorial of n, which is the same in every term: the weights are normalised.
        weights = -logs[discordant] - np.array([math.lgamma(k + 1) for k in rest.tolist()])
        weights = weights + discordant * math.log(discordance) + rest * math.log1p(-discordance)
        weights = np.exp(weights - weights.max())
    lean = (1 + difference / discordance) / 2
    total = 0.0
    for trials, weight in zip(discordant.tolist(), (weights / weights.sum()).tolist(), strict=True):
        critical = _critical(trials, alpha)
        if critical < 0 or weight < 1e-12:
            continue
        few = np.arange(critical + 1)
        ways = logs[trials] - logs[few] - logs[trials - few]
        for share in (lean, 1 - lean):
            if share <= 0:
                total += weight
            elif share < 1:
                chances = np.exp(ways + few * math.log(share) + (trials - few) * math.log1p(-share))
                total += weight * float(chances.sum())
    return total


@functools.lru_cache(maxsize=16384)
def _critical(trials: int, alpha: float) -> int:
    """Return the most successes of the rarer kind that McNemar's exact test rejects; -1 if it never does."""
    low, high = -1, trials // 2 + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if 2 * binomial_half(middle, trials)[0] <= alpha else (low, middle)
    return low


def _round_up(n: int) -> int:
    return 1 << max(6, n.bit_length())


@functools.lru_cache(maxsize=16)
def _log_factorials(most: int) -> Any:
    import numpy as np

    return np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, most + 1)))))
