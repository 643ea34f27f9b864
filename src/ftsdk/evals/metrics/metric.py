"""What a metric is, and the decorator that makes one of a function."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, SupportsFloat, cast, overload, runtime_checkable

from ftsdk._wilson import wilson
from ftsdk._yaml import parse_yaml
from ftsdk.errors import SpecError
from ftsdk.evals.registry import Registry
from ftsdk.evals.scorers.scorer import Score
from ftsdk.evals.statistics import Groups, Interval, bootstrap_interval, paired_bootstrap_interval
from ftsdk.evals.statistics.clusters import positions_by_group

__all__ = ["CanTakeOptions", "FunctionMetric", "Metric", "get_metric", "metric", "metric_names"]

_ROUNDING = 1e-9


@runtime_checkable
class Metric(Protocol):
    """One number for all scores of an eval, and how sure it is. `@metric` makes one of a function."""

    @property
    def name(self) -> str:
        """The name that it is found by, in job files too."""
        ...

    @property
    def is_bounded(self) -> bool | None:
        """Whether it lies between 0 and 1; None: as the values of the scores."""
        ...

    @property
    def is_lower_better(self) -> bool | None:
        """Whether a lower number is the better one; None: as the values of the scores."""
        ...

    def __call__(self, scores: Sequence[Score]) -> float:
        """Return the number; there is at least one score."""
        ...

    def interval(
        self, scores: Sequence[Score], *, is_bounded: bool, groups: Groups = None, confidence: float = 0.95
    ) -> Interval:
        """Return its confidence interval.

        Args:
            scores: At least one.
            is_bounded: The values of the scores lie between 0 and 1.
            groups: The group of each example, where examples come in groups that are alike; None: each on its own.
            confidence: The level, between 0 and 1.
        """
        ...

    def difference(
        self,
        first: Sequence[Score],
        second: Sequence[Score],
        *,
        is_bounded: bool,
        groups: Groups = None,
        confidence: float = 0.95,
    ) -> Interval:
        """Return the confidence interval of the second minus the first, measured on the same examples."""
        ...


@runtime_checkable
class CanTakeOptions(Protocol):
    """An optional ability of a metric: options, which its name holds too: `pass_rate(threshold=0.7)`."""

    def with_options(self, **options: Any) -> Metric:
        """Return the metric with these options.

        Raises:
            SpecError: An impossible value.
        """
        ...


class _IntervalRule(Protocol):
    def __call__(
        self, scores: Sequence[Score], /, *, is_bounded: bool, groups: Groups, confidence: float
    ) -> Interval: ...


class _DifferenceRule(Protocol):
    def __call__(
        self,
        first: Sequence[Score],
        second: Sequence[Score],
        /,
        *,
        is_bounded: bool,
        groups: Groups,
        confidence: float,
    ) -> Interval: ...


class _PValueRule(Protocol):
    def __call__(self, first: Sequence[Score], second: Sequence[Score], /, *, groups: Groups) -> float: ...


@dataclass(frozen=True)
class FunctionMetric:
    """A metric made of a function; see `metric`."""

    name: str
    function: Callable[[Sequence[Score]], float] = field(repr=False)
    is_bounded: bool | None = None
    is_lower_better: bool | None = None
    interval_rule: _IntervalRule | None = field(default=None, repr=False)
    difference_rule: _DifferenceRule | None = field(default=None, repr=False)
    p_value_rule: _PValueRule | None = field(default=None, repr=False)
    """None: answers are swapped, and the metric computed anew 1,000 times."""

    def __call__(self, scores: Sequence[Score]) -> float:
        """Return the number.

        Raises:
            SpecError: The function returned something else, or a number outside the bounds of the metric.
        """
        found = cast("object", self.function(scores))
        try:
            value = float(found) if isinstance(found, SupportsFloat) else math.nan
        except (TypeError, ValueError, OverflowError):  # an array of several, or a number of over 308 digits
            value = math.nan
        if not math.isfinite(value) or (self.is_bounded and not -_ROUNDING <= value <= 1 + _ROUNDING):
            bounds = "between 0 and 1" if self.is_bounded else "that is finite"
            raise SpecError(
                f"the metric {self.name!r} must return a number {bounds} for any scores, those of a resample too; got "
                f"{value if isinstance(found, SupportsFloat) else type(found).__name__}"
            )
        return value

    def interval(
        self, scores: Sequence[Score], *, is_bounded: bool, groups: Groups = None, confidence: float = 0.95
    ) -> Interval:
        """Return the confidence interval: by the metric's own rule, else by the bootstrap."""
        if self.interval_rule is not None:
            found = self.interval_rule(scores, is_bounded=is_bounded, groups=groups, confidence=confidence)
        else:
            found = bootstrap_interval(
                len(scores), lambda drawn: self([scores[n] for n in drawn]), groups=groups, confidence=confidence
            )
        if found.low < found.high or not (is_bounded if self.is_bounded is None else self.is_bounded):
            return found
        # No resample differs, as if all answers are right: that of a share has a width.
        units = len(positions_by_group(len(scores), groups))
        return Interval(*wilson(min(max(found.low, 0.0), 1.0) * units, units, confidence), "wilson")

    def difference(
        self,
        first: Sequence[Score],
        second: Sequence[Score],
        *,
        is_bounded: bool,
        groups: Groups = None,
        confidence: float = 0.95,
    ) -> Interval:
        """Return the interval of the second minus the first: by the metric's own rule, else by the bootstrap."""
        if self.difference_rule is not None:
            return self.difference_rule(first, second, is_bounded=is_bounded, groups=groups, confidence=confidence)
        return paired_bootstrap_interval(
            len(first),
            lambda drawn: self([first[n] for n in drawn]),
            lambda drawn: self([second[n] for n in drawn]),
            groups=groups,
            confidence=confidence,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # The module's name now means this object, so the function can't be pickled by its own.
        return _find, (self.function.__module__, self.function.__qualname__)


def _find(module: str, qualname: str) -> Metric:
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


_METRICS: Registry[Metric] = Registry(group="ftsdk.metrics", what="metric")


def metric_names() -> tuple[str, ...]:
    """Return the names of all known metrics, without importing the packages behind them."""
    return _METRICS.names()


def get_metric(name: str) -> Metric:
    """Return a metric by name: defined in this process, or an entry point in the group `ftsdk.metrics`.

    Args:
        name: With options behind it for a metric that has some: `pass_rate(threshold=0.7)`.

    Raises:
        SpecError: No such metric, or options that it doesn't take.
        MissingExtraError: A package that it imports isn't installed.
    """
    known, bracket, written = name.partition("(")
    found = _METRICS.get(known.strip() if bracket else name)
    if not bracket:
        return found
    options = _options(written, name)
    if not isinstance(found, CanTakeOptions):
        raise SpecError(f"the metric {known.strip()!r} takes no options; got {name!r}")
    try:
        return found.with_options(**options)
    except TypeError as error:
        raise SpecError(f"the metric {known.strip()!r} doesn't take the options of {name!r}: {error}") from error


def _options(written: str, name: str) -> dict[str, Any]:
    """Return the options of a metric from what stands behind the bracket.

    Raises:
        SpecError: They aren't written as `name=value, ...)`.
    """
    if not written.rstrip().endswith(")"):
        raise SpecError(f"the options of a metric end in a bracket, such as pass_rate(threshold=0.7); got {name!r}")
    options: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in written.rstrip()[:-1].split(","))):
        option, equals, value = part.partition("=")
        if not equals or option.strip() in options:
            raise SpecError(f"the options of a metric are written as pass_rate(threshold=0.7); got {name!r}")
        options[option.strip()] = parse_yaml(value.strip(), f"the metric {name!r}")
    return options


@overload
def metric(function: Callable[[Sequence[Score]], float], /) -> FunctionMetric: ...


@overload
def metric(
    *,
    name: str | None = None,
    is_bounded: bool | None = None,
    is_lower_better: bool | None = None,
    interval: _IntervalRule | None = None,
    difference: _DifferenceRule | None = None,
    p_value: _PValueRule | None = None,
) -> Callable[[Callable[[Sequence[Score]], float]], FunctionMetric]: ...


def metric(
    function: Callable[[Sequence[Score]], float] | None = None,
    /,
    *,
    name: str | None = None,
    is_bounded: bool | None = None,
    is_lower_better: bool | None = None,
    interval: _IntervalRule | None = None,
    difference: _DifferenceRule | None = None,
    p_value: _PValueRule | None = None,
) -> FunctionMetric | Callable[[Callable[[Sequence[Score]], float]], FunctionMetric]:
    """Make a metric of a function and register it under its name.

    ```python
    @metric
    def median(scores: Sequence[Score]) -> float:
        return statistics.median(score.value for score in scores)


    Eval.of(test, "numeric", metric="median")
    ```

    Args:
        function: Takes the scores of all examples, at least one, and returns a number.
        name: What to call it; the function's name by default.
        is_bounded: It lies between 0 and 1; None: as the values of the scores.
        is_lower_better: A lower number is the better one; None: as the values of the scores.
        interval: A rule for its interval; None takes the percentile bootstrap.
        difference: A rule for the interval of a paired difference; None takes the paired bootstrap.
        p_value: A rule for the p-value of a paired difference; None swaps the answers of random examples, which takes
            minutes for 100,000 examples.

    Raises:
        SpecError: Another function has registered the name.
    """

    def make(function: Callable[[Sequence[Score]], float]) -> FunctionMetric:
        made = FunctionMetric(
            name or function.__name__, function, is_bounded, is_lower_better, interval, difference, p_value
        )
        _METRICS.register(made.name, made, origin=f"{function.__module__}.{function.__qualname__}")
        return made

    return make if function is None else make(function)
