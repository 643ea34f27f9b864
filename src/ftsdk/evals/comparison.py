"""From the results of single examples to scores with intervals."""

from __future__ import annotations

from collections.abc import Sequence

from ftsdk.evals.eval import Eval
from ftsdk.evals.metrics import Metric
from ftsdk.evals.results import EvalScore, ExampleResult, PairedScore
from ftsdk.evals.statistics import Groups, is_binary

__all__ = ["compare", "groups_in", "summarize"]


def summarize(an_eval: Eval, target: str, results: Sequence[ExampleResult]) -> list[EvalScore]:
    """Return the scores of one target on one eval, one for each metric.

    Args:
        an_eval: What was measured; its metrics sum up.
        target: The name of what was measured.
        results: Of all examples, or of some.
    """
    scores = [result.score for result in results]
    values = [score.value for score in scores]
    are_counted = not an_eval.scorer.is_unbounded and is_binary(values)
    errors = sum(result.error is not None for result in results)
    groups = groups_in(an_eval, results)
    found: list[EvalScore] = []
    for metric in an_eval.metrics:
        low, high, method = metric.interval(scores, is_bounded=not an_eval.scorer.is_unbounded, groups=groups)
        found.append(
            EvalScore(
                name=an_eval.name,
                target=target,
                n=len(values),
                correct=int(sum(values)) if are_counted and metric.name == "mean" else None,
                value=metric(scores),
                low=low,
                high=high,
                metric=metric.name,
                interval=method,
                is_bounded=_is_bounded(an_eval, metric),
                is_lower_better=_is_lower_better(an_eval, metric),
                errors=errors,
                data=an_eval.data.fingerprint,
            )
        )
    return found


def compare(
    an_eval: Eval,
    base: Sequence[ExampleResult],
    tuned: Sequence[ExampleResult],
    *,
    names: tuple[str, str] = ("base", "tuned"),
) -> list[PairedScore]:
    """Compare two targets example by example, by each metric.

    Args:
        an_eval: What was measured.
        base: Results of the first target.
        tuned: Results of the second, of the same examples in the same order.
        names: Of the two targets.
    """
    first, second = [result.score for result in base], [result.score for result in tuned]
    is_bounded = not an_eval.scorer.is_unbounded
    pairs = [(one.value, other.value) for one, other in zip(first, second, strict=True)]
    outcomes: dict[str, int] = {}
    if is_bounded and is_binary([value for pair in pairs for value in pair]):
        cells = {"both": (1, 1), "only_base": (1, 0), "only_tuned": (0, 1), "neither": (0, 0)}
        outcomes = {name: pairs.count(cell) for name, cell in cells.items()}
    groups = groups_in(an_eval, base)
    found: list[PairedScore] = []
    for metric in an_eval.metrics:
        low, high, method = metric.difference(first, second, is_bounded=is_bounded, groups=groups)
        found.append(
            PairedScore(
                name=an_eval.name,
                metric=metric.name,
                base=names[0],
                tuned=names[1],
                **(outcomes if metric.name == "mean" else {}),
                lower=sum(other < one for one, other in pairs),
                equal=sum(other == one for one, other in pairs),
                higher=sum(other > one for one, other in pairs),
                difference=metric(second) - metric(first),
                low=low,
                high=high,
                interval=method,
                is_bounded=_is_bounded(an_eval, metric),
                is_lower_better=_is_lower_better(an_eval, metric),
            )
        )
    return found


def groups_in(an_eval: Eval, results: Sequence[ExampleResult]) -> Groups:
    """Return the group of each example; None if the eval names no column of groups."""
    return None if an_eval.group is None else [str(result.columns[an_eval.group]) for result in results]


def _is_bounded(an_eval: Eval, metric: Metric) -> bool:
    return not an_eval.scorer.is_unbounded if metric.is_bounded is None else metric.is_bounded


def _is_lower_better(an_eval: Eval, metric: Metric) -> bool:
    return an_eval.scorer.is_lower_better if metric.is_lower_better is None else metric.is_lower_better
