"""The conditions of a gate: what the examples so far show about each, however often one has looked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

from ftsdk._wilson import wilson
from ftsdk.errors import SpecError
from ftsdk.evals.eval import Eval
from ftsdk.evals.metrics import Metric
from ftsdk.evals.results import ExampleResult
from ftsdk.evals.statistics import Bets, Interval
from ftsdk.evals.statistics.betting import lower_end
from ftsdk.evals.statistics.power import two_digits
from ftsdk.evals.statistics.shares import tango

__all__ = ["Condition", "Outcome", "check_side", "difference_above", "value_within"]

_LOOK_EVERY = 50
"""Examples between two looks at a metric that isn't a mean."""
_MANY_TIMES = 1000
"""So many times the examples are no plan."""

State = Literal["shown", "refuted", "open"]


@dataclass(frozen=True)
class Condition:
    """What is asked of one metric of one eval, and how sure the answer must be."""

    item: Eval
    metric: Metric
    ship_level: float
    """The probability of calling it shown in error."""
    stop_level: float
    """The probability of calling it refuted in error."""

    def __post_init__(self) -> None:
        is_bounded = not self.item.scorer.is_unbounded if self.metric.is_bounded is None else self.metric.is_bounded
        if not is_bounded or (self.is_mean and self.item.scorer.is_unbounded):
            raise SpecError(
                f"a gate can't rest on {self.name}: its values have no bounds, so a single example could still turn "
                "the result. Gate on a metric between 0 and 1, such as a share of answers"
            )

    @property
    def name(self) -> str:
        """The eval, and its metric unless that is the mean."""
        return self.item.name if self.is_mean else f"{self.item.name}/{self.metric.name}"

    @property
    def is_mean(self) -> bool:
        """Whether the metric is the mean of the values, on which bets are exact."""
        return self.metric.name == "mean"

    @property
    def is_lower_better(self) -> bool:
        """Whether less is better."""
        found = self.metric.is_lower_better
        return self.item.scorer.is_lower_better if found is None else found


@dataclass(frozen=True)
class Outcome:
    """What the examples show about a condition."""

    state: State
    reason: str
    to_settle: str = ""


@dataclass(frozen=True)
class _Finding:
    """What the examples show about "the value is at least the goal"."""

    n: int
    value: float
    end: float
    """The value is at least this, with the confidence of the gate, however often one has looked."""
    state: State
    times: float = 1.0
    """How many times as many such examples would settle it."""
    toward: State = "shown"


def check_side(condition: Condition, *, is_least: bool) -> None:
    """Raise if a limit is on the side on which the metric is better.

    Raises:
        SpecError: It is.
    """
    if is_least == condition.is_lower_better:
        better, right = ("less", "at_most") if condition.is_lower_better else ("more", "at_least")
        raise SpecError(f"{better} of {condition.name} is better: a gate limits it by {right}")


def value_within(
    condition: Condition, results: Sequence[ExampleResult], target: str, *, limit: float, is_least: bool
) -> Outcome:
    """Return whether the metric is at least, or at most, a limit.

    Args:
        condition: The metric.
        results: Of the target.
        target: Its name.
        limit: A share.
        is_least: The metric must be at least the limit, else at most.

    Raises:
        SpecError: The limit is on the side on which the metric is better.
    """
    side = "at least" if is_least else "at most"
    check_side(condition, is_least=is_least)
    goal = f"must be {side} {100 * limit:.4g}%"
    if not results:
        return _without_answers(condition, goal)
    # What must be at most a limit is turned round, so that more is better throughout.
    if condition.is_mean:
        values = [result.value if is_least else 1 - result.value for result in results]
        finding = _by_bets(condition, _bets(condition, results, values), limit if is_least else 1 - limit)
    else:
        scores = [result.score for result in results]
        interval = condition.metric.interval(scores, is_bounded=True, groups=_groups(condition, results))
        value = condition.metric(scores)
        if not is_least:
            value, interval, limit = (
                1 - value,
                Interval(1 - interval.high, 1 - interval.low, interval.method),
                1 - limit,
            )
        # Where no resample differs, the share of so many right answers is uncertain all the same.
        units = _units(condition, results)
        low, high = wilson(units * value, units)
        finding = _by_interval(condition, value, interval, limit, n=len(results), least=(value - low, high - value))
    value, end = (finding.value, finding.end) if is_least else (1 - finding.value, 1 - finding.end)
    notes = [_missing(sum(result.error is not None for result in results), target, "wrong")]
    return _outcome(condition, finding, f"{target} {value:.1%}", f"{side} {end:.1%}", goal, notes)


def difference_above(
    condition: Condition,
    first: Sequence[ExampleResult],
    second: Sequence[ExampleResult],
    names: tuple[str, str],
    *,
    margin: float | None,
) -> Outcome:
    """Return whether the second target is better than the first, or at most `margin` worse.

    Args:
        condition: The metric.
        first: Results of the first target.
        second: Results of the second; examples that only one has been asked yet are left out. One that the first
            has no answer to, because of an error, counts as its best for "shown", and as its worst for "refuted".
        names: Of the two targets.
        margin: By how much the second may be worse, as a share; None: it must be better.
    """
    goal = f"must be better than {names[0]}" if margin is None else f"may be {_points(100 * margin)} worse"
    by_index = {result.index: result for result in first}
    pairs = [(by_index[result.index], result) for result in second if result.index in by_index]
    if not pairs:
        return _without_answers(condition, goal)
    finding = _difference(condition, pairs, margin, are_missing_best=False)
    missing = sum(one.error is not None for one, _ in pairs)
    if missing and finding.state != "refuted":
        # What the first would have answered isn't known, so that it isn't held against it.
        finding = _difference(condition, pairs, margin, are_missing_best=True)
        if finding.state == "refuted":
            finding = replace(finding, state="open", times=math.inf)
    gain, end = 200 * finding.value - 100, 200 * finding.end - 100
    size = f"{abs(gain):.1f} points {'better' if gain > 0 else 'worse'} than" if abs(gain) >= 0.05 else "as good as"
    title = f"{names[1]} {size} {names[0]}"
    bound = f"at least {end:.1f} better" if end > 0 else f"at most {-end:.1f} worse"
    is_against = finding.state == "refuted"
    notes = [
        _missing(missing, names[0], "wrong" if is_against else "right"),
        _missing(sum(other.error is not None for _, other in pairs), names[1], "wrong"),
    ]
    outcome = _outcome(condition, finding, title, bound, goal, notes)
    if missing and outcome.state == "open":
        settle = f"{condition.name}: evaluate again, for the {missing:,} answers of {names[0]} that are missing"
        return replace(outcome, to_settle=settle)
    return outcome


def _difference(
    condition: Condition,
    pairs: Sequence[tuple[ExampleResult, ExampleResult]],
    margin: float | None,
    *,
    are_missing_best: bool,
) -> _Finding:
    """Return what pairs of results show about the gain of the second over the first.

    Args:
        condition: The metric.
        pairs: The results of the first and of the second.
        margin: By how much the second may be worse; None: it must be better.
        are_missing_best: Count examples that the first has no answer to as its best ones, instead of its worst.
    """
    least, sign = -(margin or 0.0), -1 if condition.is_lower_better else 1
    ours = [other for _, other in pairs]
    base = [_as_best(condition, one) if are_missing_best and one.error is not None else one for one, _ in pairs]
    # Gains lie between -1 and 1, bets between 0 and 1.
    if condition.is_mean:
        values = [(sign * (other.value - one.value) + 1) / 2 for one, other in zip(base, ours, strict=True)]
        return _by_bets(condition, _bets(condition, ours, values), (least + 1) / 2)
    first, second = [one.score for one in base], [other.score for other in ours]
    groups = _groups(condition, ours)
    low, high, method = condition.metric.difference(first, second, is_bounded=True, groups=groups)
    ends = sorted((sign * low, sign * high))
    scaled = Interval((ends[0] + 1) / 2, (ends[1] + 1) / 2, method)
    gain = sign * (condition.metric(second) - condition.metric(first))
    # Where no answers differ, the next ones may.
    unseen = tango(0, 0, _units(condition, ours), NormalDist().inv_cdf(0.975))[1] / 2
    return _by_interval(condition, (gain + 1) / 2, scaled, (least + 1) / 2, n=len(pairs), least=(unseen, unseen))


def _as_best(condition: Condition, result: ExampleResult) -> ExampleResult:
    best = 0.0 if condition.item.scorer.is_lower_better else 1.0
    return replace(result, value=best, label=result.expected_label, parts=dict.fromkeys(result.parts, best))


def _missing(count: int, target: str, counted_as: str) -> str:
    return f"{count:,} without an answer from {target} counted as {counted_as}" if count else ""


def _points(points: float) -> str:
    return f"{points:.4g} point{'' if points == 1 else 's'}"


def _without_answers(condition: Condition, goal: str) -> Outcome:
    return Outcome("open", f"{condition.name}: {goal}; no answers yet", f"{condition.name}: answers to examples")


def _outcome(
    condition: Condition, finding: _Finding, title: str, bound: str, goal: str, notes: Sequence[str]
) -> Outcome:
    sure = f"{bound} with {100 * (1 - condition.ship_level):.4g}% confidence"
    # An end short of the goal is no news where the condition is refuted.
    middle = "" if finding.state == "refuted" else f", {sure}"
    words = {"shown": "shown", "refuted": "refuted", "open": "not settled"}
    noted = "".join(f" ({note})" for note in notes if note)
    reason = f"{condition.name}: {title} on {finding.n:,} examples{noted}{middle}; {goal}: {words[finding.state]}"
    if finding.state != "open":
        return Outcome(finding.state, reason)
    if finding.times > _MANY_TIMES:
        settle = f"{condition.name}: these examples lie too close to the limit for more of them to settle it"
    else:
        more = two_digits(max(1, math.ceil(finding.n * (finding.times - 1))))
        way = "that it holds" if finding.toward == "shown" else "that it doesn't hold"
        settle = f"{condition.name}: about {more:,} more examples, if they come out alike, would show {way}"
    return Outcome("open", reason, settle)


def _bets(condition: Condition, results: Sequence[ExampleResult], values: Sequence[float]) -> Bets:
    """Return bets on the values, by whole groups: one that isn't complete is left out until it is."""
    groups = _groups(condition, results)
    if groups is None:
        return Bets.on(values)
    full = Counter(groups)
    if len(results) < len(condition.item.data):
        full = Counter(str(example.columns[condition.item.group or ""]) for example in condition.item.examples())
    seen: dict[str, list[float]] = {}
    for group, value in zip(groups, values, strict=True):
        seen.setdefault(group, []).append(value)
    complete = [found for group, found in seen.items() if len(found) == full[group]]
    sums, sizes = tuple(math.fsum(found) for found in complete), tuple(len(found) for found in complete)
    return Bets(sums, sizes, max(full.values()))


def _groups(condition: Condition, results: Sequence[ExampleResult]) -> list[str] | None:
    column = condition.item.group
    return None if column is None else [str(result.columns[column]) for result in results]


def _units(condition: Condition, results: Sequence[ExampleResult]) -> int:
    """Return how many groups there are, or examples where none are named."""
    return len(set(_groups(condition, results) or range(len(results))))


def _by_bets(condition: Condition, bets: Bets, least: float) -> _Finding:
    """Return what bets show about a mean that must be at least `least`."""
    above, below = bets.against_at_most(least), bets.against_at_least(least)
    end = lower_end(bets, condition.ship_level)
    if above.is_enough(condition.ship_level):
        return _Finding(bets.n, bets.mean, end, "shown")
    if below.is_enough(condition.stop_level):
        return _Finding(bets.n, bets.mean, end, "refuted")
    up, down = above.times_needed(condition.ship_level), below.times_needed(condition.stop_level)
    return _Finding(bets.n, bets.mean, end, "open", min(up, down), "shown" if up <= down else "refuted")


def _by_interval(
    condition: Condition, value: float, interval: Interval, goal: float, *, n: int, least: tuple[float, float]
) -> _Finding:
    """Return what the 95% interval of a metric that isn't a mean shows; approximate, as the interval is.

    The level is shared among looks after every 50 examples: the k-th gets 6 / (pi k)^2 of it, which sums to 1.

    Args:
        condition: The metric.
        value: Its value, between 0 and 1.
        interval: The interval of the value.
        goal: What the value must be at least.
        n: Examples.
        least: The least distances of the value from the ends of its interval.
    """
    usual = NormalDist().inv_cdf(0.975)
    part = 6 / (math.pi * math.ceil(n / _LOOK_EVERY)) ** 2
    up, down = max(value - interval.low, least[0]), max(interval.high - value, least[1])
    up *= NormalDist().inv_cdf(1 - condition.ship_level * part) / usual
    down *= NormalDist().inv_cdf(1 - condition.stop_level * part) / usual
    end = max(0.0, value - up)
    if end > goal:
        return _Finding(n, value, end, "shown")
    if value + down < goal:
        return _Finding(n, value, end, "refuted")
    gap = value - goal
    width, toward = (up, "shown") if gap >= 0 else (down, "refuted")
    return _Finding(n, value, end, "open", (width / gap) ** 2 if gap else math.inf, toward)
