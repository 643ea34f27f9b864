"""`Gate`: what a model must show before it is shipped, and the verdict on whether it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, cast, get_args

from pydantic import Field, model_validator

from ftsdk._rich_text import rich_text
from ftsdk.errors import SpecError
from ftsdk.evals.eval import Eval
from ftsdk.evals.gate_conditions import Condition, Outcome, check_side, difference_above, value_within
from ftsdk.evals.metrics import Metric
from ftsdk.evals.results import ExampleResult
from ftsdk.spec.base import Value, nearest

__all__ = ["Decision", "Gate", "Verdict", "check_gate", "check_targets", "judge_gate"]

Decision = Literal["ship", "don't ship", "can't tell"]


class Gate(Value):
    """What a model must show before it is shipped.

    ```python
    gate = Gate(metric="accuracy", at_least=0.95, no_regression={"general": 0.01})
    ```

    A verdict may be asked for after every 50 examples: the probability that it ever says "ship" for a model that breaks
    a condition stays at most 1 - confidence. Rows must be in random order for that, as after `Dataset.split`; once all
    examples are answered, their order doesn't matter.
    """

    metric: str
    """An eval, by its name; or `"eval/metric"` for another than its first metric."""
    at_least: float | None = Field(default=None, ge=0, le=1)
    """The metric must reach this, as a share; None: no such condition."""
    at_most: float | None = Field(default=None, ge=0, le=1)
    """For a metric of which less is better: it must not exceed this."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """How sure a decision must be: 0.95 ships a model that breaks a condition in at most 5% of cases."""
    no_regression: dict[str, float] = Field(default_factory=dict)
    """How much worse than the base the model may be, by eval or `"eval/metric"`, as a share: 0.01 is a point."""
    better_than: str | None = None
    """A target, such as `"base"`, that the model must exceed by `metric`."""

    @model_validator(mode="after")
    def _has_conditions(self) -> Self:
        if self.at_least is None and self.at_most is None and not self.no_regression and self.better_than is None:
            raise ValueError("has no condition; set at_least, at_most, no_regression or better_than")
        for name, margin in self.no_regression.items():
            if not 0 <= margin < 1:
                raise ValueError(f"no_regression of {name!r} must be a share from 0 to below 1; got {margin:g}")
        return self


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether to ship, and why. Print it."""

    decision: Decision
    reasons: tuple[str, ...]
    """What each condition asks and what the examples show."""
    to_settle: tuple[str, ...] = ()
    """What would settle it; empty if it is settled."""

    @property
    def is_ship(self) -> bool:
        """Whether every condition is shown to hold."""
        return self.decision == "ship"

    def __str__(self) -> str:
        lines = [f"Verdict: {self.decision}", *(f"  {reason}" for reason in self.reasons)]
        if self.to_settle:
            lines += ["What would settle it:", *(f"  {line}" for line in self.to_settle)]
        return "\n".join(lines)

    __rich__ = rich_text

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain data."""
        return {**asdict(self), "reasons": list(self.reasons), "to_settle": list(self.to_settle)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """Read what `to_dict` wrote.

        Raises:
            SpecError: Not a verdict.
        """
        decision, reasons, to_settle = data.get("decision"), data.get("reasons"), data.get("to_settle", [])
        if decision not in get_args(Decision) or not isinstance(reasons, list) or not isinstance(to_settle, list):
            raise SpecError("this is not the data of a verdict; pass what to_dict() returned")
        return cls(
            decision=cast("Decision", decision), reasons=tuple(map(str, reasons)), to_settle=tuple(map(str, to_settle))
        )


def check_gate(gate: Gate, evals: Sequence[Eval]) -> None:
    """Raise unless a gate can be judged by evals, before any of them has run.

    Raises:
        SpecError: It names what they don't measure, a metric without bounds, or a limit on the wrong side.
    """
    for name in (gate.metric, *gate.no_regression):
        condition = Condition(*_find(name, evals), 1 - gate.confidence, 1 - gate.confidence)
        for limit, is_least in ((gate.at_least, True), (gate.at_most, False)):
            if name == gate.metric and limit is not None:
                check_side(condition, is_least=is_least)


def check_targets(gate: Gate, *, tuned: str, base: str, known: Collection[str] | None = None) -> None:
    """Raise if a gate compares a target with itself, or with one that there is not.

    Args:
        gate: The conditions.
        tuned: The target to be shipped.
        base: The target that `no_regression` compares with.
        known: All targets; None: not known.

    Raises:
        SpecError: It does.
    """
    if gate.no_regression and base == tuned:
        raise SpecError(
            f"the gate compares {tuned!r} with itself: no_regression is held against the first target. Put the base "
            "first, and name what is to be shipped by compare_with="
        )
    if gate.better_than == tuned:
        raise SpecError(f"the gate asks {tuned!r} to be better than itself; better_than names another target")
    if gate.better_than is not None and known is not None and gate.better_than not in known:
        raise SpecError(
            f"the gate's better_than={gate.better_than!r} is none of the targets: {', '.join(known)}; measure it, too "
            "(run.evaluate(against={...}))"
        )


def judge_gate(
    gate: Gate,
    evals: Sequence[Eval],
    results: Mapping[tuple[str, str], Sequence[ExampleResult]],
    *,
    tuned: str = "tuned",
    base: str = "base",
) -> Verdict:
    """Return whether the results pass a gate. May be asked again as results come in, after every 50 examples.

    "Ship" needs every condition to be shown at the gate's confidence. So no correction is due: to ship a model that
    breaks a condition, that one condition must have been shown in error. "Don't ship" needs a single condition to be
    refuted, and shares 1 - confidence among the conditions (Bonferroni).

    Args:
        gate: The conditions.
        evals: What was measured.
        results: The results by the names of eval and target; all, or the first ones in the order of the rows.
        tuned: The target to be shipped.
        base: The target that `no_regression` compares with.

    An example without an answer, because of an error, never speaks for the model: it counts as wrong where the model
    failed; where the base failed, "ship" counts it as right for the base.

    Raises:
        SpecError: The gate names an eval, a metric or a target that there is not, compares the model with itself, or
            names a metric without bounds, of which no number of examples shows enough.

    Source: Berger, Technometrics 24 (1982) 295-300 (intersection-union tests) for the first; `Bets` for the looks.
    """
    limits = [
        (limit, is_least) for limit, is_least in ((gate.at_least, True), (gate.at_most, False)) if limit is not None
    ]
    check_targets(gate, tuned=tuned, base=base)
    ship = 1 - gate.confidence
    stop = ship / (len(limits) + len(gate.no_regression) + (gate.better_than is not None))
    outcomes: list[Outcome] = []
    for limit, is_least in limits:
        condition = Condition(*_find(gate.metric, evals), ship, stop)
        found = _results(results, condition.item, tuned)
        outcomes.append(value_within(condition, found, tuned, limit=limit, is_least=is_least))
    pairs: list[tuple[str, str, float | None]] = [(name, base, margin) for name, margin in gate.no_regression.items()]
    if gate.better_than is not None:
        pairs.append((gate.metric, gate.better_than, None))
    for name, other, margin in pairs:
        condition = Condition(*_find(name, evals), ship, stop)
        first, second = (_results(results, condition.item, target) for target in (other, tuned))
        outcomes.append(difference_above(condition, first, second, (other, tuned), margin=margin))
    return _verdict(outcomes)


def _verdict(outcomes: Sequence[Outcome]) -> Verdict:
    reasons = tuple(outcome.reason for outcome in outcomes)
    if any(outcome.state == "refuted" for outcome in outcomes):
        return Verdict(decision="don't ship", reasons=reasons)
    if all(outcome.state == "shown" for outcome in outcomes):
        return Verdict(decision="ship", reasons=reasons)
    to_settle = tuple(outcome.to_settle for outcome in outcomes if outcome.to_settle)
    return Verdict(decision="can't tell", reasons=reasons, to_settle=to_settle)


def _find(name: str, evals: Sequence[Eval]) -> tuple[Eval, Metric]:
    """Return an eval and a metric by `"eval"`, `"eval/metric"`, or a metric that only one eval has."""
    eval_name, _, metric_name = name.partition("/")
    for item in evals:
        if item.name == eval_name:
            for metric in item.metrics if metric_name else item.metrics[:1]:
                if metric_name in ("", metric.name):
                    return item, metric
    having = [(item, metric) for item in evals for metric in item.metrics if metric.name == name]
    if len(having) == 1:
        return having[0]
    known = [*(item.name for item in evals), *(f"{item.name}/{m.name}" for item in evals for m in item.metrics[1:])]
    raise SpecError(f"the gate names {name!r}, which is no eval, nor a metric of one{nearest(name, known)}")


def _results(
    results: Mapping[tuple[str, str], Sequence[ExampleResult]], item: Eval, target: str
) -> Sequence[ExampleResult]:
    found = results.get((item.name, target))
    if found is None:
        known = ", ".join(dict.fromkeys(other for name, other in results if name == item.name)) or "none"
        raise SpecError(f"the gate needs results of {target!r} on the eval {item.name!r}; there are those of: {known}")
    return found
