"""From the results of single examples to what a report shows of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from statistics import fmean, median
from typing import Any

from ftsdk.errors import SpecError
from ftsdk.evals.confusion import confusion_matrix
from ftsdk.evals.eval import Eval
from ftsdk.evals.report.examples import example_lists, shown_examples
from ftsdk.evals.report.parts import CostBasis, TargetConfusion, TargetCost
from ftsdk.evals.report.slices import Results, slice_pairs, slice_scores
from ftsdk.evals.results import ExampleResult
from ftsdk.spec.amounts import check_amount

__all__ = ["UsdPerHour", "check_usd_per_hour", "parts_of"]

UsdPerHour = float | Decimal | Mapping[str, float | Decimal] | None
"""US dollars for an hour of the machine: of every target whose answers have no price, or by the target's name."""


def parts_of(
    evals: Sequence[Eval],
    results: Results,
    targets: Sequence[str],
    subject: str,
    *,
    accept_at: float = 1.0,
    usd_per_hour: UsdPerHour = None,
) -> dict[str, Any]:
    """Return the fields of a report beside its scores and comparisons.

    Args:
        evals: What was measured.
        results: All results.
        targets: The names of the targets, in order.
        subject: The target that the others are compared with.
        accept_at: The score from which an answer counts as accepted.
        usd_per_hour: What an hour of a target's machine costs, where answers have no price.
    """
    lists = tuple(one for item in evals for one in example_lists(item, results, targets, subject))
    return {
        "slices": slice_scores(evals, results, targets),
        "slice_pairs": slice_pairs(evals, results, targets, subject),
        "confusions": tuple(
            TargetConfusion(name=item.name, target=target, matrix=confusion_matrix([one.score for one in found]))
            for item in evals
            for target in targets
            for found in (results[item.name, target],)
            if all(one.expected_label is not None for one in found)
        ),
        "costs": tuple(
            _cost(item, target, results[item.name, target], accept_at, _hourly(usd_per_hour, target))
            for item in evals
            for target in targets
        ),
        "lists": lists,
        "examples": shown_examples(lists, results, targets),
    }


def check_usd_per_hour(usd_per_hour: UsdPerHour, targets: Sequence[str]) -> None:
    """Raise unless it is a price, or prices of some of the targets.

    Raises:
        SpecError: It is negative, or names a target that there is not.
    """
    prices = usd_per_hour if isinstance(usd_per_hour, Mapping) else {"": usd_per_hour}
    for name, price in prices.items():
        if name and name not in targets:
            raise SpecError(f"usd_per_hour names {name!r}, which is none of the targets: {', '.join(targets)}")
        if price is not None:
            check_amount("usd_per_hour", price, at_least=0)


def _hourly(usd_per_hour: UsdPerHour, target: str) -> Decimal | None:
    price = usd_per_hour.get(target) if isinstance(usd_per_hour, Mapping) else usd_per_hour
    return None if price is None else Decimal(str(price))


def _cost(
    item: Eval, target: str, results: Sequence[ExampleResult], accept_at: float, usd_per_hour: Decimal | None
) -> TargetCost:
    answered = [one for one in results if one.error is None]
    seconds = [one.seconds for one in answered if one.seconds is not None]
    given = [one.input_tokens for one in answered if one.input_tokens is not None]
    taken = [one.output_tokens for one in answered if one.output_tokens is not None]
    usd: Decimal | None = None
    basis: CostBasis = "unknown"
    if answered and all(one.usd is not None for one in answered):
        usd, basis = sum((Decimal(one.usd) for one in results if one.usd is not None), Decimal(0)), "metered"
    elif usd_per_hour is not None and answered and len(seconds) == len(answered):
        spent = math.fsum(one.seconds for one in results if one.seconds is not None)
        usd, basis = Decimal(f"{spent:.6f}") * usd_per_hour / 3600, "hourly"
    has_scale = not item.scorer.is_unbounded and not item.scorer.is_lower_better
    return TargetCost(
        name=item.name,
        target=target,
        n=len(results),
        accepted=sum(one.value >= accept_at for one in answered) if has_scale else None,
        accept_at=accept_at,
        usd=usd,
        basis=basis,
        median_seconds=median(seconds) if seconds else None,
        mean_input_tokens=fmean(given) if given else None,
        mean_output_tokens=fmean(taken) if taken else None,
    )
