"""What a diagnosis looks at: the curves of a run and the answers of its evaluation, as values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ftsdk._files import read_regular_file
from ftsdk.errors import Diagnosis, FtsdkError
from ftsdk.protocol import EvalEvent, Event, LogEvent, StateEvent, StepEvent
from ftsdk.spec import JobSpec

if TYPE_CHECKING:
    from ftsdk.evals import EvalReport

__all__ = ["Answered", "Curve", "Evidence", "evidence_of", "loss_curves", "report_in"]

_MOST_BYTES = 256 << 20
_NOT_FINITE = re.compile(r"train/(?:loss|grad_norm) at step ([0-9]{1,12}) is -?(?:nan|inf)")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A loss over the steps of a run; a step that was done again, after a crash, counts once."""

    points: tuple[tuple[int, float], ...]
    """Optimizer step and loss, in the order of the steps."""

    def __len__(self) -> int:
        return len(self.points)

    @property
    def smoothed(self) -> tuple[tuple[int, float], ...]:
        """Means over a tenth of the points, so that single batches don't decide; the last point of each names it."""
        width = max(1, len(self.points) // 10)
        parts = [self.points[start : start + width] for start in range(0, len(self.points), width)]
        return tuple((part[-1][0], fmean(loss for _, loss in part)) for part in parts)

    @property
    def first(self) -> float:
        """The loss at the start, smoothed."""
        return self.smoothed[0][1]

    @property
    def last(self) -> float:
        """The loss at the end, smoothed."""
        return self.smoothed[-1][1]

    @property
    def lowest(self) -> tuple[int, float]:
        """The step with the lowest loss, smoothed, and that loss."""
        return min(self.smoothed, key=lambda point: point[1])


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The answers of one target to one eval, as far as they are on disk."""

    outputs: tuple[str, ...]
    references: tuple[str, ...]
    values: tuple[float, ...]
    cut: tuple[bool | None, ...]
    """Whether each answer ended at the limit of its tokens; None: not known."""
    output_tokens: tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known of a run."""

    spec: JobSpec
    training: Curve
    validation: Curve
    steps_per_epoch: float | None
    """None: not known."""
    not_finite: tuple[int, str] | None = None
    """The first step whose loss or gradient wasn't a finite number, and what was reported of it; None: there is none.
    No curve holds such a point."""
    report: EvalReport | None = None
    answers: Mapping[tuple[str, str], Answered] = field(default_factory=dict[tuple[str, str], Answered])
    """By eval and target."""
    is_finished: bool = True
    """False: the run is queued or running, so the curves go on."""


def evidence_of(
    spec: JobSpec,
    events: Sequence[Event],
    *,
    report: EvalReport | None = None,
    folder: Path | None = None,
    is_finished: bool = True,
) -> Evidence:
    """Collect the evidence.

    Args:
        spec: What was trained.
        events: Of the run, in order.
        report: Its evaluation; None: there is none.
        folder: Where the evaluation's answers are; what can't be read there is left out.
        is_finished: Whether the run has ended.
    """
    training, validation = loss_curves(events)
    epochs: dict[int, float] = {}
    not_finite: dict[int, str] = {}
    for event in events:
        match event:
            case StepEvent():
                if event.step > 0 and event.epoch is not None and event.epoch > 0:
                    epochs[event.step] = event.epoch
            case StateEvent() if event.diagnosis is not None and event.diagnosis.get("kind") == "nan_loss":
                found = Diagnosis.from_dict(event.diagnosis)
                not_finite.setdefault(found.step or 0, found.message)
            case LogEvent() if (odd := _NOT_FINITE.fullmatch(event.message)) is not None:  # managed services
                not_finite.setdefault(int(odd[1]), event.message)
            case _:
                pass  # what state it was in, and where its checkpoints are, says nothing about what it learned
    answers: dict[tuple[str, str], Answered] = {}
    for score in report.scores if report is not None else ():
        key = (score.name, score.target)
        if folder is not None and key not in answers:
            found = _answered(folder / score.name / f"{score.target}.jsonl")
            if found is not None:
                answers[key] = found
    return Evidence(
        spec=spec,
        training=training,
        validation=validation,
        steps_per_epoch=_steps_per_epoch(epochs),
        not_finite=min(not_finite.items(), default=None),
        report=report,
        answers=answers,
        is_finished=is_finished,
    )


def loss_curves(events: Sequence[Event]) -> tuple[Curve, Curve]:
    """Return the losses of training and of validation; those that are not finite are in neither."""
    training: dict[int, float] = {}
    validation: dict[int, float] = {}
    for event in events:
        match event:
            case StepEvent() if event.loss is not None and math.isfinite(event.loss):
                training[event.step] = event.loss
            case EvalEvent() if event.name == "validation":
                loss = event.metrics.get("loss")
                if loss is not None and math.isfinite(loss):
                    validation[event.step] = loss
            case _:
                pass
    first, second = (Curve(points=tuple(sorted(points.items()))) for points in (training, validation))
    return first, second


def _steps_per_epoch(epochs: Mapping[int, float]) -> float | None:
    """Return the steps of an epoch by the latest step that reported its epoch."""
    if not epochs:
        return None
    steps = max(epochs) / epochs[max(epochs)]
    return steps if math.isfinite(steps) and steps > 0 else None


def report_in(folder: Path) -> EvalReport | None:
    """Return the report in a folder of results; None: there is none that can be read."""
    from ftsdk.evals import EvalReport

    try:
        data = json.loads(read_regular_file(folder / "report.json", most_bytes=_MOST_BYTES))
        return EvalReport.from_dict(data, folder=folder)
    except (OSError, ValueError, RecursionError, FtsdkError):
        return None


def _answered(path: Path) -> Answered | None:
    try:
        content = read_regular_file(path, most_bytes=_MOST_BYTES).decode("utf-8", "surrogatepass")
        lines: list[dict[str, Any]] = [json.loads(line) for line in content.split("\n") if line]
        return Answered(
            outputs=tuple(str(line["output"]) for line in lines),
            references=tuple(str(line["expected"]) for line in lines),
            values=tuple(float(line["value"]) for line in lines),
            cut=tuple(line.get("is_cut") for line in lines),
            output_tokens=tuple(line.get("output_tokens") for line in lines),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
