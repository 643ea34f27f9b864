"""The `Trainer` protocol: a pure plan of the training, and the training itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ftsdk._entry_points import installed
from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.errors import Diagnosis, Gap, MissingExtraError, SpecError
from ftsdk.protocol import Adjustment, Capabilities, Event, Workload
from ftsdk.spec import JobSpec
from ftsdk.spec.base import nearest

__all__ = [
    "DEFAULT_TRAINER",
    "CanShard",
    "Cancelled",
    "Context",
    "Interrupted",
    "Trainer",
    "TrainingPlan",
    "TrainingResult",
    "TrainingStopped",
    "load_trainer",
    "package_of",
]


class Cancelled(Exception):
    """Raised by a trainer that has stopped because `context.is_cancelled()` returned True."""


class Interrupted(Exception):
    """Raised by a trainer that has saved a checkpoint and stopped because `context.is_interrupted()` returned True."""


class TrainingStopped(Exception):
    """Raised by a trainer that knows why the training can't continue."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(str(diagnosis))
        self.diagnosis = diagnosis


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The trainer's part of a plan."""

    request: Mapping[str, Any]
    """Every value that the training depends on, as JSON. The worker passes it to `train`."""
    workload: Workload | None = None
    """What there is to compute, for estimates of time and memory; None: no estimates."""
    adjustments: tuple[Adjustment, ...] = ()
    """Values that the spec left open, as the trainer chose them."""
    gaps: tuple[Gap, ...] = ()
    """Fields of the spec that the trainer can't honour; any gap refuses the plan."""
    notes: tuple[str, ...] = ()
    """What the user should know before the start."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a trainer gets from the worker."""

    folder: Path
    """The run's folder, which has `data/train.arrow`, `data/validation.arrow` and `checkpoints/`."""
    emit: Callable[[Event], None]
    """Writes an event to the run's log, such as `StepEvent(step=3, total_steps=90, loss=1.2)`.

    The log sets `seq` and `at`. A step's `tokens_per_s` and `seconds_left` are filled in if the trainer leaves them
    out.
    """
    is_cancelled: Callable[[], bool]
    """Whether to stop; call it after each step.

    Processes that train together may get different answers: if one of them gets True, all of them must stop.
    """
    is_interrupted: Callable[[], bool] = field(default=lambda: False)
    """Whether to save a checkpoint and raise `Interrupted`, because the worker's time is nearly up.

    As `is_cancelled`, for all processes together. A trainer that doesn't ask is resumed from its last checkpoint.
    """
    resume_from: Path | None
    """The newest whole checkpoint; None: start from the beginning."""
    is_main: bool = True
    """Whether this process writes files and events: true for one process of several."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training produced, apart from the weights themselves."""

    kind: str
    """`adapter` or `model`."""
    base: str
    """Id of the base model, without any local path."""
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Facts for the manifest, such as library versions and final losses."""


class Trainer(Protocol):
    """A training library, such as TRL, Axolotl or Unsloth."""

    @property
    def name(self) -> str:
        """Its name in plans and manifests, and the name of its entry point."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. Reads nothing from disk or network."""
        ...

    @property
    def extra(self) -> str:
        """The extra of ftsdk that a worker needs to train with it, such as `local`."""
        ...

    def translate(self, spec: JobSpec, hardware: Hardware) -> TrainingPlan:
        """Plan the training. Pure and offline; imports no training library."""
        ...

    def train(self, request: Mapping[str, Any], context: Context, into: Path) -> TrainingResult:
        """Train, in the worker, and save the weights as safetensors.

        Checkpoints go to `context.folder / "checkpoints" / "checkpoint-STEP"`, each sealed by a manifest when whole.

        Args:
            request: The `request` of the `TrainingPlan`.
            context: The run's folder, and how to report and to stop.
            into: The folder for the weights, which exists and is empty.

        Raises:
            Cancelled: `context.is_cancelled()` returned True.
            Interrupted: `context.is_interrupted()` returned True, and a checkpoint of the last step is saved.
            TrainingStopped: The training can't continue, for the reason in the diagnosis.
        """
        ...


@runtime_checkable
class CanShard(Protocol):
    """A trainer that reads `Hardware.sharding`, and spreads a model over all processes where it is `full`."""

    def sharding_gaps(self, spec: JobSpec, hardware: Hardware) -> Sequence[Gap]:
        """Return what of a job can't be sharded. Pure and offline."""
        ...


DEFAULT_TRAINER = "trl"


def package_of(trainer: str) -> str:
    """Return the distribution that a trainer is part of, such as `ftsdk` for `trl`."""
    point = installed("ftsdk.trainers").get(trainer)
    return point.dist.name if point is not None and point.dist is not None else "ftsdk"


def load_trainer(trainer: str | Trainer) -> Trainer:
    """Return a trainer that a worker, which is another process, can build again by name.

    Args:
        trainer: The name of an entry point in the group `ftsdk.trainers`, or an object of the class registered there.

    Raises:
        SpecError: No such trainer is installed, or a worker couldn't build the object.
        MissingExtraError: Its package needs another one that isn't installed.
    """
    if isinstance(trainer, str):
        return _build(trainer)
    kind, name = type(trainer).__name__, str(getattr(trainer, "name", ""))
    if name not in installed("ftsdk.trainers"):
        raise SpecError(
            f"trainer={kind}(...) isn't installed: a worker is another process and builds the trainer by name, and no "
            f"entry point in the group 'ftsdk.trainers' has its name, {name!r}. Register {kind} under that name in its "
            f"package. Installed: {', '.join(sorted(installed('ftsdk.trainers')))}"
        )
    built = _build(name)
    if type(built) is not type(trainer):
        raise SpecError(
            f"trainer={kind}(...) has the name {name!r}, under which {type(built).__name__} is installed, so a worker "
            "would train with that one. Give the class a name of its own, and register it under that name in the group "
            "'ftsdk.trainers'"
        )
    if vars(built) != vars(trainer):
        raise SpecError(
            f"trainer={kind}(...) has settings of its own, which would be lost: a worker is another process and builds "
            f"it as {kind}(). Put the settings into the class or into the job"
        )
    return built


def _build(name: str) -> Trainer:
    points = installed("ftsdk.trainers")
    if name not in points:
        raise SpecError(f"unknown trainer {name!r}{nearest(name, set(points))}. Installed: {', '.join(sorted(points))}")
    try:
        return points[name].load()()
    except ImportError as error:
        dist = points[name].dist
        raise MissingExtraError(
            name, needed_for=f"trainer {name!r}", missing=error.name, package=dist.name if dist else "ftsdk"
        ) from error
