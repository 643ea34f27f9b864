"""Tests of whether two targets differ on the same examples, and of several comparisons at once."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from ftsdk.errors import SpecError
from ftsdk.evals.statistics.clusters import Groups, clustered_mean, positions_by_group
from ftsdk.evals.statistics.distributions import binomial_half, t_two_sided
from ftsdk.evals.statistics.interval import check_values
from ftsdk.spec.amounts import check_amount

__all__ = ["holm", "mcnemar", "paired_t", "sign_flips", "swaps"]

_ROUNDS = 2000
_MOST_EXACT = 12
"""Units up to which every flip of signs is tried."""


def mcnemar(only_first: int, only_second: int, *, mid_p: bool = False) -> float:
    """Return the two-sided p-value of McNemar's exact test: whether two shares on the same examples differ.

    Args:
        only_first: Examples that only the first got right.
        only_second: Examples that only the second got right.
        mid_p: Count the observed outcome by half. Closer to the level for few examples, but may exceed it.

    Raises:
        SpecError: A count is negative or not whole.

    Source: McNemar, Psychometrika 12 (1947) 153-157; Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13
    (2013) 91 for mid-p.
    """
    for name, count in (("only_first", only_first), ("only_second", only_second)):
        check_amount(name, count, at_least=0, is_whole=True)
    at_most, exactly = binomial_half(min(only_first, only_second), only_first + only_second)
    return 2 * at_most - exactly if mid_p else min(2 * at_most, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values that allow for how many there are, in the same order.

    Rejecting those at or below 0.05 rejects a true hypothesis, among all of them, in at most 5% of cases.

    Raises:
        SpecError: A p-value lies outside 0 to 1.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    for p_value in p_values:
        check_amount("a p-value", p_value, at_least=0, at_most=1)
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min((len(p_values) - rank) * p_values[index], 1.0))
        adjusted[index] = largest
    return adjusted


def paired_t(first: Sequence[float], second: Sequence[float], *, groups: Groups = None) -> float:
    """Return the two-sided p-value of the paired t test of equal means; with groups, that of their standard error.

    Args:
        first: One value for each example, at least one.
        second: The same examples, in the same order.
        groups: The group of each example.

    Returns:
        The p-value; 1 for a single example or group, which shows nothing. Where the differences don't vary, the exact
        p-value of `sign_flips`.

    Raises:
        SpecError: No values, one that isn't finite, or lists of different lengths.
    """
    differences = _differences(first, second)
    found = clustered_mean(differences, groups)
    if math.isinf(found.standard_error) or not any(differences):
        return 1.0
    if found.standard_error <= 1e-12 * abs(found.mean):
        return 0.5 ** (found.clusters - 1)
    return t_two_sided(found.mean / found.standard_error, found.degrees)


def sign_flips(first: Sequence[float], second: Sequence[float], *, groups: Groups = None, seed: int = 0) -> float:
    """Return the two-sided p-value of the sign-flip test, which supposes nothing about how values are distributed.

    If the two targets are alike, each difference could as well have the other sign. Up to 12 examples or groups every
    choice of signs is tried; above, 2,000 random ones.

    Args:
        first: One value for each example, at least one.
        second: The same examples, in the same order.
        groups: The group of each example; the differences of a group get the same sign.
        seed: The same seed gives the same p-value.

    Raises:
        SpecError: No values, one that isn't finite, or lists of different lengths.

    Source: Fisher, The Design of Experiments (1935), section 21; the observed outcome counts as one of the random ones,
    by Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 9 (2010) 39.
    """
    import numpy as np

    differences = _differences(first, second)
    sums = np.array(
        [math.fsum(differences[index] for index in unit) for unit in positions_by_group(len(differences), groups)]
    )
    units = len(sums)
    observed = abs(math.fsum(sums)) * (1 - 1e-12)
    if units <= _MOST_EXACT:
        signs = 1.0 - 2.0 * ((np.arange(2**units)[:, None] >> np.arange(units)) & 1)
        return float(np.mean(np.abs(signs @ sums) >= observed))
    chance = np.random.default_rng(seed)
    count = 0
    for start in range(0, _ROUNDS, 100):
        signs = chance.choice((-1.0, 1.0), size=(min(100, _ROUNDS - start), units))
        count += int(np.sum(np.abs(signs @ sums) >= observed))
    return (count + 1) / (_ROUNDS + 1)


def swaps(
    n: int,
    difference: Callable[[Sequence[bool]], float],
    *,
    groups: Groups = None,
    rounds: int = 500,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of the test that swaps the two targets on random examples, for any metric.

    Args:
        n: How many examples there are.
        difference: The difference of the metric if the targets are swapped on the examples marked True.
        groups: The group of each example; groups are swapped whole.
        rounds: How many random swaps.
        seed: The same seed gives the same p-value.

    Source: Noreen, Computer-Intensive Methods for Testing Hypotheses (1989), chapter 2 (approximate randomisation).
    """
    units = positions_by_group(n, groups)
    chance = random.Random(seed)
    observed = abs(difference([False] * n)) * (1 - 1e-12)
    count = 0
    for _ in range(rounds):
        is_swapped = [False] * n
        for unit in units:
            if chance.random() < 0.5:
                for index in unit:
                    is_swapped[index] = True
        count += abs(difference(is_swapped)) >= observed
    return (count + 1) / (rounds + 1)


def _differences(first: Sequence[float], second: Sequence[float]) -> list[float]:
    if len(first) != len(second) or not first:
        raise SpecError(f"paired values must be of the same examples, at least one; got {len(first)} and {len(second)}")
    check_values(first)
    check_values(second)
    return [other - one for one, other in zip(first, second, strict=True)]
