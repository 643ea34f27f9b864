"""From the results of single examples to scores with intervals."""

from __future__ import annotations

from collections.abc import Sequence

from ftsdk.evals.eval import Eval
from ftsdk.evals.results import EvalScore, ExampleResult, PairedScore
from ftsdk.evals.statistics import is_binary

__all__ = ["compare", "summarize"]


def summarize(an_eval: Eval, target: str, results: Sequence[ExampleResult]) -> EvalScore:
    """Return the score of one target on one eval.

    Args:
        an_eval: What was measured; its metric sums up.
        target: The name of what was measured.
        results: Of all examples.
    """
    values = [result.value for result in results]
    is_bounded = not an_eval.scorer.is_unbounded
    low, high, method = an_eval.metric.interval(values, is_bounded=is_bounded)
    return EvalScore(
        name=an_eval.name,
        target=target,
        n=len(values),
        correct=int(sum(values)) if is_bounded and is_binary(values) else None,
        value=an_eval.metric(values),
        low=low,
        high=high,
        metric=an_eval.metric.name,
        interval=method,
        is_bounded=is_bounded,
    )


def compare(an_eval: Eval, base: Sequence[ExampleResult], tuned: Sequence[ExampleResult]) -> PairedScore:
    """Compare two targets example by example.

    Args:
        an_eval: What was measured.
        base: Results of the first target.
        tuned: Results of the second, of the same examples in the same order.
    """
    first, second = [result.value for result in base], [result.value for result in tuned]
    is_bounded = not an_eval.scorer.is_unbounded
    low, high, method = an_eval.metric.difference(first, second, is_bounded=is_bounded)
    pairs = list(zip(first, second, strict=True))
    counts: dict[str, int] = {}
    if is_bounded and is_binary([*first, *second]):
        outcomes = {"both": (1, 1), "only_base": (1, 0), "only_tuned": (0, 1), "neither": (0, 0)}
        counts = {name: pairs.count(outcome) for name, outcome in outcomes.items()}
    return PairedScore(
        name=an_eval.name,
        **counts,
        lower=sum(other < one for one, other in pairs),
        equal=sum(other == one for one, other in pairs),
        higher=sum(other > one for one, other in pairs),
        difference=an_eval.metric(second) - an_eval.metric(first),
        low=low,
        high=high,
        interval=method,
        is_bounded=is_bounded,
    )
