"""When a trial is stopped early: rules that compare its validation metric with that of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import nearest

__all__ = ["RULES", "Curve", "MedianRule", "OtherTrial", "StopRule", "SuccessiveHalving", "read_rule"]

Curve = Sequence[tuple[float, float]]
"""Points of a trial in order: the share of its training that was done, over 0 to 1, and its metric, lower is better."""
_CLOSE = 1e-9
Share = Annotated[float, Field(gt=0, lt=1)]


class OtherTrial(NamedTuple):
    """Another trial of the sweep, as far as it is."""

    curve: Curve
    is_complete: bool
    """Whether it was trained to its end."""


class MedianRule(Value):
    """Stop a trial whose best metric so far is worse than the median of the others' running means up to here.

    Trials are compared at the same share of their training, since the learning rate falls over the whole of it.

    Source: Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, section 3.2.1: "stops a
    pending trial at step s if the trial's best objective value by step s is strictly worse than the median value of
    the running averages of all completed trials' objectives reported up to step s".
    """

    kind: Literal["median"] = "median"
    least_trials: Annotated[int, Field(ge=1)] = 3
    """Trials that must have been trained to their end before any is stopped."""
    from_share: Share = 0.2
    """No trial is stopped before this share of its training, in which the warmup lies."""

    def why_stop(self, curve: Curve, others: Sequence[OtherTrial]) -> str:
        """Return why a trial is stopped at its last point; empty if it goes on."""
        if not curve or not self.from_share - _CLOSE <= curve[-1][0] < 1 - _CLOSE:
            return ""
        share = curve[-1][0]
        means = [
            fmean(seen)
            for other in others
            if other.is_complete and (seen := [value for at, value in other.curve if at <= share + _CLOSE])
        ]
        if len(means) < self.least_trials:
            return ""
        best, limit = min(value for _, value in curve), median(means)
        if best <= limit:
            return ""
        return f"at {share:.0%} its best is {best:.4g}, worse than the median {limit:.4g} of {len(means)} trials"


class SuccessiveHalving(Value):
    """At set shares of the training, go on with the best third of the trials that got there.

    The asynchronous form, which decides at once: the first trial at a rung always goes on.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), MLSys 2020, section 3; the form
    that stops trials, as Optuna's `SuccessiveHalvingPruner` and Ray Tune's `ASHAScheduler` have it.
    """

    kind: Literal["halving"] = "halving"
    reduction: Annotated[int, Field(ge=2)] = 3
    """One in so many goes on (eta in the paper)."""
    first_share: Share = 1 / 9
    """The share of the training at the first rung; each later one is `reduction` times as far."""

    def why_stop(self, curve: Curve, others: Sequence[OtherTrial]) -> str:
        """Return why a trial is stopped at its last point; empty if it goes on."""
        if not curve or curve[-1][0] >= 1 - _CLOSE:
            return ""
        rung = self.first_share
        passed: float | None = None
        while rung < 1 - _CLOSE and rung <= curve[-1][0] + _CLOSE:
            passed, rung = rung, rung * self.reduction
        # Only the point that reached the rung decides; later ones wait for the next.
        if passed is None or (own := _value_at(passed, curve)) is None or _reached(passed, curve[:-1]):
            return ""
        values = sorted([own, *(value for other in others if (value := _value_at(passed, other.curve)) is not None)])
        kept = max(1, len(values) // self.reduction)
        if own <= values[kept - 1]:
            return ""
        return f"at {passed:.0%} its {own:.4g} isn't among the best {kept} of {len(values)} trials"


StopRule = MedianRule | SuccessiveHalving
RULES: Mapping[str, type[StopRule]] = {"median": MedianRule, "halving": SuccessiveHalving}


def read_rule(rule: StopRule | str | Mapping[str, object] | None) -> StopRule | None:
    """Return a rule by its name or its fields.

    Raises:
        SpecError: There is none of this name, or its fields are wrong.
    """
    if rule is None or isinstance(rule, MedianRule | SuccessiveHalving):
        return rule
    name = rule if isinstance(rule, str) else str(rule.get("kind"))
    if name not in RULES:
        raise SpecError(f"unknown rule {name!r} to stop trials by{nearest(name, set(RULES))}; None stops none")
    return RULES[name]() if isinstance(rule, str) else RULES[name].from_dict(rule)


def _reached(share: float, curve: Curve) -> bool:
    return any(at >= share - _CLOSE for at, _ in curve)


def _value_at(share: float, curve: Curve) -> float | None:
    """Return the first value at a share or after it."""
    return next((value for at, value in curve if at >= share - _CLOSE), None)
