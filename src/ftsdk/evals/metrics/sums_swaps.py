"""The test that swaps the answers of two targets, for metrics that are functions of sums: all rounds at once."""

from __future__ import annotations

import numpy as np

from ftsdk.evals.metrics.sums_bootstrap import Array, SumStatistic, units_of
from ftsdk.evals.statistics import Groups

__all__ = ["p_value_of_sums"]

_ROUNDS = 2000
_MOST_CELLS = 4_000_000
"""Numbers that one batch of rounds holds."""


def p_value_of_sums(
    first_UD: Array,  # noqa: N803 - shapes
    second_UD: Array,  # noqa: N803
    row_of_N: Array,  # noqa: N803
    statistic: SumStatistic,
    *,
    groups: Groups = None,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of the test that swaps the two targets on random examples; see `swaps`.

    How many examples of each distinct row are swapped is binomial, so that the time depends on the number of distinct
    rows and hardly on that of examples.

    Args:
        first_UD: The features of the first target in each distinct row, shape (U rows, D features).
        second_UD: Those of the second.
        row_of_N: The row of each of N examples, at least one.
        statistic: The metric, as a function of the sums of features.
        groups: The group of each example; groups are swapped whole.
        seed: The same seed gives the same p-value.
    """
    first, counts = units_of(first_UD, row_of_N, groups)
    second, _ = units_of(second_UD, row_of_N, groups)
    totals, moved = (counts @ first, counts @ second), second - first
    observed = abs(float((statistic(totals[1][None, :]) - statistic(totals[0][None, :]))[0])) * (1 - 1e-9)
    generator = np.random.default_rng(seed)
    batch = max(1, min(_ROUNDS, _MOST_CELLS // max(moved.shape)))
    count = 0
    for start in range(0, _ROUNDS, batch):
        size = min(batch, _ROUNDS - start)
        change = generator.binomial(counts, 0.5, size=(size, len(counts))).astype(np.float64) @ moved
        differences = statistic(totals[1] - change) - statistic(totals[0] + change)
        count += int(np.sum(np.abs(differences) >= observed))
    return (count + 1) / (_ROUNDS + 1)
