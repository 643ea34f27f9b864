"""`corpus_bleu`: BLEU over all answers, as papers report it (divided by 100)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftsdk.evals.metrics.metric import metric
from ftsdk.evals.metrics.parts_metric import PartsMetric
from ftsdk.evals.metrics.sums_bootstrap import Array
from ftsdk.evals.scorers.bleu import ORDER
from ftsdk.evals.scorers.scorer import Score

__all__ = ["corpus_bleu"]

_PARTS = (
    *(f"correct_{order}" for order in range(1, ORDER + 1)),
    *(f"total_{order}" for order in range(1, ORDER + 1)),
    "answer_length",
    "reference_length",
)


def _bleu(sums: Array) -> Array:
    """Return BLEU with exponential smoothing, as sacrebleu computes it by default."""
    correct, total = sums[:, :ORDER], sums[:, ORDER : 2 * ORDER]
    given, wanted = sums[:, -2], sums[:, -1]
    # The k-th order without a match counts as 1 / 2^k matches.
    halves = 2.0 ** -np.cumsum(correct == 0, axis=1)
    precision = np.where(correct > 0, correct, halves) / np.maximum(total, 1)
    is_scored = (correct > 0).any(axis=1) & (total > 0).all(axis=1)
    penalty = np.exp(np.minimum(0.0, 1 - wanted / np.maximum(given, 1)))
    return np.where(is_scored, penalty * np.exp(np.log(precision).mean(axis=1)), 0.0)


_RULE = PartsMetric("corpus_bleu", _PARTS, _bleu, scorers="the scorer 'bleu'")


@metric(
    is_bounded=True, is_lower_better=False, interval=_RULE.interval, difference=_RULE.difference, p_value=_RULE.p_value
)
def corpus_bleu(scores: Sequence[Score]) -> float:
    """Return BLEU of all answers together, between 0 and 1: sacrebleu's `corpus_bleu` divided by 100."""
    return _RULE.value(scores)
