"""What a metric is, and the decorator that makes one of a function."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, overload, runtime_checkable

from ftsdk.evals.registry import Registry
from ftsdk.evals.statistics import Interval, bootstrap_interval, paired_bootstrap_interval

__all__ = ["FunctionMetric", "Metric", "get_metric", "metric", "metric_names"]


@runtime_checkable
class Metric(Protocol):
    """One number for all scores of an eval, and how sure it is. `@metric` makes one of a function."""

    @property
    def name(self) -> str:
        """The name that it is found by, in job files too."""
        ...

    def __call__(self, values: Sequence[float]) -> float:
        """Return the number; there is at least one value."""
        ...

    def interval(self, values: Sequence[float], *, is_bounded: bool) -> Interval:
        """Return its 95 % interval; `is_bounded` says that the values lie between 0 and 1."""
        ...

    def difference(self, first: Sequence[float], second: Sequence[float], *, is_bounded: bool) -> Interval:
        """Return the 95 % interval of the second minus the first, measured on the same examples."""
        ...


class _IntervalRule(Protocol):
    def __call__(self, values: Sequence[float], /, *, is_bounded: bool) -> Interval: ...


class _DifferenceRule(Protocol):
    def __call__(self, first: Sequence[float], second: Sequence[float], /, *, is_bounded: bool) -> Interval: ...


@dataclass(frozen=True)
class FunctionMetric:
    """A metric made of a function; see `metric`."""

    name: str
    function: Callable[[Sequence[float]], float] = field(repr=False)
    interval_rule: _IntervalRule | None = field(default=None, repr=False)
    difference_rule: _DifferenceRule | None = field(default=None, repr=False)

    def __call__(self, values: Sequence[float]) -> float:
        """Return the number."""
        return float(self.function(values))

    def interval(self, values: Sequence[float], *, is_bounded: bool) -> Interval:
        """Return the 95 % interval: by the metric's own rule, else by the bootstrap."""
        if self.interval_rule is not None:
            return self.interval_rule(values, is_bounded=is_bounded)
        return bootstrap_interval(len(values), lambda drawn: self([values[n] for n in drawn]))

    def difference(self, first: Sequence[float], second: Sequence[float], *, is_bounded: bool) -> Interval:
        """Return the 95 % interval of the second minus the first: by the metric's own rule, else by bootstrap."""
        if self.difference_rule is not None:
            return self.difference_rule(first, second, is_bounded=is_bounded)
        return paired_bootstrap_interval(
            len(first), lambda drawn: self([first[n] for n in drawn]), lambda drawn: self([second[n] for n in drawn])
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

    Raises:
        SpecError: No such metric.
        MissingExtraError: A package that it imports isn't installed.
    """
    return _METRICS.get(name)


@overload
def metric(function: Callable[[Sequence[float]], float], /) -> FunctionMetric: ...


@overload
def metric(
    *, name: str | None = None, interval: _IntervalRule | None = None, difference: _DifferenceRule | None = None
) -> Callable[[Callable[[Sequence[float]], float]], FunctionMetric]: ...


def metric(
    function: Callable[[Sequence[float]], float] | None = None,
    /,
    *,
    name: str | None = None,
    interval: _IntervalRule | None = None,
    difference: _DifferenceRule | None = None,
) -> FunctionMetric | Callable[[Callable[[Sequence[float]], float]], FunctionMetric]:
    """Make a metric of a function and register it under its name.

    ```python
    @metric
    def median(values: Sequence[float]) -> float:
        return statistics.median(values)


    Eval.of(test, "f1", metric="median")
    ```

    Args:
        function: Takes the values of all scores, at least one, and returns a number.
        name: What to call it; the function's name by default.
        interval: A rule for its interval; None takes the percentile bootstrap.
        difference: A rule for the interval of a paired difference; None takes the paired bootstrap.

    Raises:
        SpecError: Another function has registered the name.
    """

    def make(function: Callable[[Sequence[float]], float]) -> FunctionMetric:
        made = FunctionMetric(name or function.__name__, function, interval, difference)
        _METRICS.register(made.name, made, origin=f"{function.__module__}.{function.__qualname__}")
        return made

    return make if function is None else make(function)
