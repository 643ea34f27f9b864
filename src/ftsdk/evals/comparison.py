"""From the results of single examples to scores with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any

from ftsdk.errors import SpecError
from ftsdk.evals.eval import Eval
from ftsdk.evals.metrics import FunctionMetric, Metric
from ftsdk.evals.results import EvalScore, ExampleResult, PairedScore
from ftsdk.evals.scorers import Score
from ftsdk.evals.statistics import (
    Groups,
    examples_needed,
    holm,
    is_binary,
    mcnemar,
    paired_t,
    smallest_difference,
    swaps,
)

__all__ = ["allow_for_all", "compare", "groups_in", "summarize"]

_SWAPPED = "swapped answers"


def summarize(
    an_eval: Eval, target: str, results: Sequence[ExampleResult], *, metrics: Sequence[Metric] | None = None
) -> list[EvalScore]:
    """Return the scores of one target on one eval, one for each metric.

    Args:
        an_eval: What was measured; its metrics sum up.
        target: The name of what was measured.
        results: Of all examples, or of some.
        metrics: Only these; None: those of the eval.
    """
    scores = [result.score for result in results]
    values = [score.value for score in scores]
    are_counted = not an_eval.scorer.is_unbounded and is_binary(values)
    errors = sum(result.error is not None for result in results)
    groups = groups_in(an_eval, results)
    found: list[EvalScore] = []
    for metric in an_eval.metrics if metrics is None else metrics:
        low, high, method = metric.interval(scores, is_bounded=not an_eval.scorer.is_unbounded, groups=groups)
        found.append(
            EvalScore(
                name=an_eval.name,
                target=target,
                n=len(values),
                correct=int(sum(values)) if are_counted and metric.name == "mean" else None,
                value=metric(scores),
                low=max(low, 0.0) if _is_bounded(an_eval, metric) else low,
                high=min(high, 1.0) if _is_bounded(an_eval, metric) else high,
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
    metrics: Sequence[Metric] | None = None,
) -> list[PairedScore]:
    """Compare two targets example by example, by each metric.

    Args:
        an_eval: What was measured.
        base: Results of the first target.
        tuned: Results of the second, of the same examples in the same order.
        names: Of the two targets.
        metrics: Only these; None: those of the eval.
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
    for metric in an_eval.metrics if metrics is None else metrics:
        low, high, method = metric.difference(first, second, is_bounded=is_bounded, groups=groups)
        if _is_bounded(an_eval, metric):
            low, high = max(low, -1.0), min(high, 1.0)
        difference = metric(second) - metric(first)
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
                difference=difference,
                low=low,
                high=high,
                interval=method,
                is_bounded=_is_bounded(an_eval, metric),
                is_lower_better=_is_lower_better(an_eval, metric),
                **_tested(metric, first, second, outcomes, groups),
                **_reach(
                    difference, high - low, outcomes if metric.name == "mean" and groups is None else {}, len(pairs)
                ),
            )
        )
    return found


def allow_for_all(pairs: Sequence[PairedScore]) -> tuple[PairedScore, ...]:
    """Return the comparisons of a report, each with the p-value that allows for all of them."""
    tested = [pair.p_value for pair in pairs if pair.p_value is not None]
    adjusted = iter(holm(tested))
    return tuple(
        pair if pair.p_value is None else replace(pair, p_holm=next(adjusted), comparisons=len(tested))
        for pair in pairs
    )


def _tested(
    metric: Metric, first: Sequence[Score], second: Sequence[Score], outcomes: dict[str, int], groups: Groups
) -> dict[str, Any]:
    """Return the p-value of a comparison and the name of its test."""
    if metric.name == "mean":
        if outcomes and groups is None:
            return {"p_value": mcnemar(outcomes["only_base"], outcomes["only_tuned"]), "test": "McNemar's exact test"}
        values = [score.value for score in first], [score.value for score in second]
        test = "paired t" if groups is None else "clustered t"
        return {"p_value": paired_t(*values, groups=groups), "test": test}

    if isinstance(metric, FunctionMetric) and metric.p_value_rule is not None:
        test = {"accuracy": "McNemar's exact test" if groups is None else "clustered t"}.get(metric.name, _SWAPPED)
        return {"p_value": metric.p_value_rule(first, second, groups=groups), "test": test}

    def difference(is_swapped: Sequence[bool]) -> float:
        chosen = list(zip(first, second, is_swapped, strict=True))
        return metric([one if swap else other for one, other, swap in chosen]) - metric(
            [other if swap else one for one, other, swap in chosen]
        )

    return {"p_value": swaps(len(first), difference, groups=groups), "test": _SWAPPED}


def _reach(difference: float, width: float, outcomes: dict[str, int], n: int) -> dict[str, Any]:
    """Return what the examples can see, and how many the observed difference would take."""
    if outcomes:
        discordance = (outcomes["only_base"] + outcomes["only_tuned"]) / n
        # Of no discordant example nothing is learnt; three in n are still likely then.
        kind: dict[str, float] = {"discordance": discordance or min(1.0, 3 / n)}
    elif 0 < width < math.inf:
        # The interval has the standard error of the groups and of the metric in it.
        kind = {"spread": width / 2 / NormalDist().inv_cdf(0.975) * math.sqrt(n)}
    else:
        return {}
    return {"visible": smallest_difference(n, **kind), "examples_needed": _needed(difference, kind)}


def _needed(difference: float, kind: dict[str, float]) -> int | None:
    try:
        return examples_needed(difference, **kind) if difference else None
    except SpecError:  # over a billion
        return None


def groups_in(an_eval: Eval, results: Sequence[ExampleResult]) -> Groups:
    """Return the group of each example; None if the eval names no column of groups."""
    return None if an_eval.group is None else [str(result.columns[an_eval.group]) for result in results]


def _is_bounded(an_eval: Eval, metric: Metric) -> bool:
    return not an_eval.scorer.is_unbounded if metric.is_bounded is None else metric.is_bounded


def _is_lower_better(an_eval: Eval, metric: Metric) -> bool:
    return an_eval.scorer.is_lower_better if metric.is_lower_better is None else metric.is_lower_better
