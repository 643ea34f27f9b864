"""`macro_f1` and `weighted_f1`: F1 of each class, averaged. Their intervals come from counts, all resamples at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ftsdk.errors import SpecError
from ftsdk.evals.metrics.metric import metric
from ftsdk.evals.metrics.sums_bootstrap import Array, interval_of_sums
from ftsdk.evals.metrics.sums_swaps import p_value_of_sums
from ftsdk.evals.scorers.scorer import Score
from ftsdk.evals.statistics import Groups, Interval, mean_interval, paired_mean_interval

__all__ = ["AveragedF1", "macro_f1", "weighted_f1"]

_Average = Callable[[Array, Array, Array], Array]


def _macro(f1: Array, support: Array, named: Array) -> Array:
    """Return the mean over the classes that occur in a resample, as a reference or in an answer."""
    return f1.sum(axis=1) / np.maximum(((support + named) > 0).sum(axis=1), 1)


def _weighted(f1: Array, support: Array, named: Array) -> Array:
    del named
    return (f1 * support).sum(axis=1) / support.sum(axis=1)


class AveragedF1:
    """An average of the F1 of classes, and its intervals, for `@metric(interval=..., difference=...)`."""

    def __init__(self, name: str, average: _Average) -> None:
        """Describe the metric.

        Args:
            name: The metric, for messages.
            average: Takes F1, examples and answers of each class, each of shape (R resamples, K classes), and returns R
                values.
        """
        self._name = name
        self._average = average

    def value(self, scores: Sequence[Score]) -> float:
        """Return the metric.

        Raises:
            SpecError: A score names no class of its reference.
        """
        rows, row_of = self._rows(scores)
        return float(self._statistic((np.bincount(row_of) @ rows)[None, :])[0])

    def interval(self, scores: Sequence[Score], /, *, is_bounded: bool, groups: Groups, confidence: float) -> Interval:
        """Return its bootstrap interval; that of the share of right answers if no resample differs."""
        del is_bounded
        rows, row_of = self._rows(scores)
        found = interval_of_sums(rows, row_of, self._statistic, groups=groups, confidence=confidence)
        if found.low < found.high:
            return found
        # No resample differs, as if all answers are right: the interval of the share of right ones has a width.
        return mean_interval(_right(scores), is_bounded=True, groups=groups, confidence=confidence)

    def difference(
        self,
        first: Sequence[Score],
        second: Sequence[Score],
        /,
        *,
        is_bounded: bool,
        groups: Groups,
        confidence: float,
    ) -> Interval:
        """Return the bootstrap interval of the second minus the first, on the same resamples."""
        del is_bounded
        classes = self._classes([*first, *second])
        pairs = np.hstack([self._cells(first, classes), self._cells(second, classes)])
        cells, cell_of = np.unique(pairs, axis=0, return_inverse=True)
        rows = np.hstack([_features(cells[:, :2], len(classes)), _features(cells[:, 2:], len(classes))])
        width = 3 * len(classes)

        def statistic(sums: Array) -> Array:
            return self._statistic(sums[:, width:]) - self._statistic(sums[:, :width])

        found = interval_of_sums(rows, cell_of.ravel(), statistic, groups=groups, confidence=confidence)
        if found.low < found.high:
            return found
        return paired_mean_interval(
            _right(first), _right(second), is_bounded=True, groups=groups, confidence=confidence
        )

    def p_value(self, first: Sequence[Score], second: Sequence[Score], /, *, groups: Groups) -> float:
        """Return the p-value of the difference, by swapping the answers of random examples."""
        classes = self._classes([*first, *second])
        pairs = np.hstack([self._cells(first, classes), self._cells(second, classes)])
        cells, cell_of = np.unique(pairs, axis=0, return_inverse=True)
        rows = _features(cells[:, :2], len(classes)), _features(cells[:, 2:], len(classes))
        return p_value_of_sums(*rows, cell_of.ravel(), self._statistic, groups=groups)

    def _rows(self, scores: Sequence[Score]) -> tuple[Array, Array]:
        """Return the features of each pair of classes that occurs, and the pair of each score."""
        classes = self._classes(scores)
        cells, cell_of = np.unique(self._cells(scores, classes), axis=0, return_inverse=True)
        return _features(cells, len(classes)), cell_of.ravel()

    def _statistic(self, sums: Array) -> Array:
        right, support, named = np.split(sums, 3, axis=1)
        total = support + named
        return self._average(np.divide(2 * right, total, out=np.zeros_like(total), where=total > 0), support, named)

    def _classes(self, scores: Sequence[Score]) -> dict[str, int]:
        found = {label for score in scores for label in (score.expected_label, score.label) if label is not None}
        if any(score.expected_label is None for score in scores):
            raise SpecError(
                f"the metric {self._name!r} counts classes, and the scorer names none; use one that does, such as "
                "'choice'"
            )
        return {label: number for number, label in enumerate(sorted(found))}

    def _cells(self, scores: Sequence[Score], classes: dict[str, int]) -> Array:
        """Return the class of the reference and of the answer; the latter is the number of classes if it has none."""
        return np.array(
            [
                (classes[score.expected_label or ""], len(classes) if score.label is None else classes[score.label])
                for score in scores
            ]
        )


def _features(cells: Array, n_classes: int) -> Array:
    """Return, for each pair of classes, one-hot rows of: right, in the reference, in the answer."""
    each = np.eye(n_classes + 1)[:, :n_classes]
    support, named = each[cells[:, 0]], each[cells[:, 1]]
    return np.hstack([support * named, support, named])


def _right(scores: Sequence[Score]) -> list[float]:
    return [float(score.label == score.expected_label) for score in scores]


_MACRO, _WEIGHTED = AveragedF1("macro_f1", _macro), AveragedF1("weighted_f1", _weighted)


@metric(
    is_bounded=True,
    is_lower_better=False,
    interval=_MACRO.interval,
    difference=_MACRO.difference,
    p_value=_MACRO.p_value,
)
def macro_f1(scores: Sequence[Score]) -> float:
    """Return the mean of the F1 of all classes, each counting the same: what scikit-learn calls `average="macro"`.

    Classes are those of the references and of the answers. An answer that names no class, or that never came, lowers
    the recall of its reference's class, and isn't a class.
    """
    return _MACRO.value(scores)


@metric(
    is_bounded=True,
    is_lower_better=False,
    interval=_WEIGHTED.interval,
    difference=_WEIGHTED.difference,
    p_value=_WEIGHTED.p_value,
)
def weighted_f1(scores: Sequence[Score]) -> float:
    """Return the mean of the F1 of all classes, weighted by their examples: scikit-learn's `average="weighted"`."""
    return _WEIGHTED.value(scores)
