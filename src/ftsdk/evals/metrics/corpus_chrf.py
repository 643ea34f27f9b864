"""`corpus_chrf`: chrF over all answers, as papers report it (divided by 100)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftsdk.evals.metrics.metric import metric
from ftsdk.evals.metrics.parts_metric import PartsMetric
from ftsdk.evals.metrics.sums_bootstrap import Array
from ftsdk.evals.scorers.chrf import BETA, ORDER
from ftsdk.evals.scorers.scorer import Score

__all__ = ["corpus_chrf"]

_PARTS = tuple(f"{what}_{order}" for what in ("answer", "reference", "common") for order in range(1, ORDER + 1))


def _chrf(sums: Array) -> Array:
    given, wanted, common = np.split(sums, 3, axis=1)
    is_counted = (given > 0) & (wanted > 0)
    orders = np.maximum(is_counted.sum(axis=1), 1)
    precision = np.where(is_counted, common / np.maximum(given, 1), 0).sum(axis=1) / orders
    recall = np.where(is_counted, common / np.maximum(wanted, 1), 0).sum(axis=1) / orders
    below = BETA**2 * precision + recall
    return np.divide((1 + BETA**2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)


_RULE = PartsMetric("corpus_chrf", _PARTS, _chrf, scorers="the scorer 'chrf'")


@metric(
    is_bounded=True, is_lower_better=False, interval=_RULE.interval, difference=_RULE.difference, p_value=_RULE.p_value
)
def corpus_chrf(scores: Sequence[Score]) -> float:
    """Return chrF2 of all answers together, between 0 and 1: sacrebleu's `corpus_chrf` divided by 100."""
    return _RULE.value(scores)
