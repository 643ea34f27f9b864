"""What a sweep watches of one run: the curve of its validation metric, and whether the rule stops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ftsdk.job.sweep.metric import is_lower_better, metric_in
from ftsdk.job.sweep.record import TrialProgress
from ftsdk.job.sweep.rules import OtherTrial, StopRule
from ftsdk.protocol import EvalEvent, Event, RunStatus, StepEvent
from ftsdk.run.progress import Progress

__all__ = ["TrialFollower", "others_of"]


class TrialFollower:
    """A display for `Run.wait` that takes in the events of a trial, and has it stopped.

    Args:
        display: What shows them.
        metric: The validation metric.
        keeps_best: Whether the weights of the best validation are kept, not the last ones.
        rule: Stops trials; None: none is stopped.
        known: How many points were judged before, by a process that died.
        why: Why that process was stopping the run; empty: it wasn't.
        others: Returns the other trials as they are.
        on_curve: Called with each new curve.
        stop: Stops the run, for a reason.
    """

    def __init__(
        self,
        display: Progress,
        *,
        metric: str,
        keeps_best: bool,
        rule: StopRule | None,
        known: int,
        why: str,
        others: Callable[[], Sequence[OtherTrial]],
        on_curve: Callable[[tuple[tuple[float, float], ...]], None],
        stop: Callable[[str], None],
    ) -> None:
        self._display = display
        self._metric = metric
        self._keeps_best = keeps_best
        self._rule = rule
        self._known = known
        self._others = others
        self._on_curve = on_curve
        self._stop = stop
        self._total_steps: int | None = None
        self._values: list[float] = []
        self._points: list[tuple[float, float]] = []
        self._why = why

    @property
    def curve(self) -> tuple[tuple[float, float], ...]:
        """Share of the training and metric of each validation."""
        return tuple(self._points)

    @property
    def value(self) -> float | None:
        """The metric of the weights that the run keeps; None: it wasn't measured."""
        if not self._values:
            return None
        best = min if is_lower_better(self._metric) else max
        return best(self._values) if self._keeps_best else self._values[-1]

    def event(self, event: Event) -> None:
        """Take in one event."""
        self._display.event(event)
        if isinstance(event, StepEvent):
            self._total_steps = event.total_steps or self._total_steps
        if not isinstance(event, EvalEvent) or (value := metric_in(event, self._metric)) is None:
            return
        self._values.append(value)
        if not self._total_steps:
            return
        self._points.append((min(1.0, event.step / self._total_steps), value))
        if len(self._points) <= self._known:
            return
        self._on_curve(self.curve)
        if self._rule is not None and not self._why:
            self._why = self._rule.why_stop(_downwards(self._points, self._metric), self._others())

    def status(self, status: RunStatus) -> None:
        """Take in the status, and stop a run that the rule has judged."""
        self._display.status(status)
        if self._why and not status.is_terminal:
            self._stop(self._why)


def others_of(progress: Sequence[TrialProgress], metric: str) -> list[OtherTrial]:
    """Return trials as rules see them."""
    return [
        OtherTrial(_downwards(one.curve, metric), is_complete=one.state == "succeeded") for one in progress if one.curve
    ]


def _downwards(curve: Sequence[tuple[float, float]], metric: str) -> list[tuple[float, float]]:
    sign = 1.0 if is_lower_better(metric) else -1.0
    return [(share, sign * value) for share, value in curve]
