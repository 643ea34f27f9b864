"""`micro_f1`: F1 of all classes counted together."""

from __future__ import annotations

from collections.abc import Sequence

from ftsdk.evals.metrics.f1 import AveragedF1
from ftsdk.evals.metrics.metric import metric
from ftsdk.evals.metrics.sums_bootstrap import Array
from ftsdk.evals.scorers.scorer import Score

__all__ = ["micro_f1"]


def _micro(f1: Array, support: Array, named: Array) -> Array:
    """Return F1 of the counts: of one class it is twice the right ones over these."""
    counted = support + named
    return (f1 * counted).sum(axis=1) / counted.sum(axis=1)


_MICRO = AveragedF1("micro_f1", _micro)


@metric(
    is_bounded=True,
    is_lower_better=False,
    interval=_MICRO.interval,
    difference=_MICRO.difference,
    p_value=_MICRO.p_value,
)
def micro_f1(scores: Sequence[Score]) -> float:
    """Return F1 over the counts of all classes together: what scikit-learn calls `average="micro"`.

    Where every answer names a class it is the accuracy. An answer that names none counts as a missed reference, and not
    as a wrong answer as well, so that it costs half of that.
    """
    return _MICRO.value(scores)
