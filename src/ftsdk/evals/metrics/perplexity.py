"""`perplexity`: the exponential of the loss per token over all examples; lower is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftsdk.evals.metrics.metric import metric
from ftsdk.evals.metrics.parts_metric import PartsMetric
from ftsdk.evals.metrics.sums_bootstrap import Array
from ftsdk.evals.scorers.scorer import Score

__all__ = ["perplexity"]

_LARGEST_LOSS = 700.0
"""Nats per token; `exp` of more doesn't fit into a float."""


def _perplexity(sums: Array) -> Array:
    return np.exp(np.minimum(-sums[:, 0] / sums[:, 1], _LARGEST_LOSS))


_RULE = PartsMetric("perplexity", ("log_probability", "tokens"), _perplexity, scorers="the scorer 'loss'")


@metric(
    is_bounded=False, is_lower_better=True, interval=_RULE.interval, difference=_RULE.difference, p_value=_RULE.p_value
)
def perplexity(scores: Sequence[Score]) -> float:
    """Return the perplexity of all tokens of all references: long ones count more than in the mean of the losses."""
    return _RULE.value(scores)
