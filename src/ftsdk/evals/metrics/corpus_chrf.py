"""`corpus_chrf`: chrF over all answers, as papers report it (divided by 100)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftsdk.evals.metrics.metric import metric
from ftsdk.evals.metrics.parts_metric import PartsMetric
from ftsdk.evals.metrics.sums_bootstrap import Array
from ftsdk.evals.scorers.chrf import BETA, orders
from ftsdk.evals.scorers.scorer import Score
from ftsdk.evals.statistics import Groups, Interval

__all__ = ["corpus_chrf"]


def _chrf(sums: Array) -> Array:
    given, wanted, common = np.split(sums, 3, axis=1)
    is_counted = (given > 0) & (wanted > 0)
    orders = np.maximum(is_counted.sum(axis=1), 1)
    precision = np.where(is_counted, common / np.maximum(given, 1), 0).sum(axis=1) / orders
    recall = np.where(is_counted, common / np.maximum(wanted, 1), 0).sum(axis=1) / orders
    below = BETA**2 * precision + recall
    return np.divide((1 + BETA**2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)


def _rule(word_order: int) -> PartsMetric:
    parts = [f"{what}_{order}" for what in ("answer", "reference", "common") for order in orders(word_order)]
    return PartsMetric("corpus_chrf", parts, _chrf, scorers="the scorer 'chrf'")


_RULES = [_rule(word_order) for word_order in (0, 1, 2)]


def _rule_of(scores: Sequence[Score]) -> PartsMetric:
    """Return the rule for the orders that the scorer counted."""
    return _RULES[sum(f"common_word_{order}" in scores[0].parts for order in (1, 2))]


def _interval(scores: Sequence[Score], /, *, is_bounded: bool, groups: Groups, confidence: float) -> Interval:
    return _rule_of(scores).interval(scores, is_bounded=is_bounded, groups=groups, confidence=confidence)


def _difference(
    first: Sequence[Score], second: Sequence[Score], /, *, is_bounded: bool, groups: Groups, confidence: float
) -> Interval:
    rule = _rule_of(first)
    return rule.difference(first, second, is_bounded=is_bounded, groups=groups, confidence=confidence)


def _p_value(first: Sequence[Score], second: Sequence[Score], /, *, groups: Groups) -> float:
    return _rule_of(first).p_value(first, second, groups=groups)


@metric(is_bounded=True, is_lower_better=False, interval=_interval, difference=_difference, p_value=_p_value)
def corpus_chrf(scores: Sequence[Score]) -> float:
    """Return chrF2 of all answers together, between 0 and 1: sacrebleu's `corpus_chrf` divided by 100.

    Of the scorer `chrf` with `word_order=2` it is chrF++.
    """
    return _rule_of(scores).value(scores)
