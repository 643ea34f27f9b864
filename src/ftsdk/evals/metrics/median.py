"""`median`: the score in the middle, which a few very bad answers don't move."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ftsdk.evals.metrics.metric import metric
from ftsdk.evals.scorers.scorer import Score

__all__ = ["median"]


@metric
def median(scores: Sequence[Score]) -> float:
    """Return the median of the scores."""
    return statistics.median(score.value for score in scores)
