"""The `Trainer` protocol: a pure translation of the spec, and the training itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ftsdk._entry_points import installed
from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.errors import Diagnosis, Gap, MissingExtraError, SpecError
from ftsdk.protocol import Adjustment, Capabilities, Workload
from ftsdk.spec import JobSpec
from ftsdk.spec.base import nearest

__all__ = [
    "DEFAULT_TRAINER",
    "Cancelled",
    "Context",
    "Trainer",
    "Training",
    "TrainingStopped",
    "Translation",
    "load_trainer",
    "package_of",
]


class Cancelled(Exception):
    """Raised by a trainer that saw `context.is_cancelled()` and stopped."""


class TrainingStopped(Exception):
    """Raised by a trainer that knows why training can't go on."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(str(diagnosis))
        self.diagnosis = diagnosis


@dataclass(frozen=True, kw_only=True)
class Translation:
    """The trainer's part of a plan."""

    request: Mapping[str, Any]
    """Everything that the training depends on, decided: JSON."""
    workload: Workload | None = None
    """The same in terms that any trainer can state, for estimates of time and memory; None: there are none."""
    adjustments: tuple[Adjustment, ...] = ()
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the worker gives to the trainer."""

    folder: Path
    """The run's folder: `data/train.jsonl`, `data/validation.jsonl` and `checkpoints/` lie in it."""
    emit: Callable[[str, Mapping[str, Any]], None]
    """Append an event: its kind and its fields."""
    is_cancelled: Callable[[], bool]
    """Asked after each step. Of several processes each has its own answer, and all of them must stop where one does."""
    resume_from: Path | None
    """The newest whole checkpoint, or None to start afresh."""
    is_main: bool = True
    """True in the one process that writes files and events."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What came out."""

    kind: str
    """`adapter` or `model`."""
    base: str
    """Id of the base model, without a path of any machine."""
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Facts for the manifest: library versions, final losses, the rendering report."""


class Trainer(Protocol):
    """A training library, such as TRL, Axolotl or Unsloth."""

    @property
    def name(self) -> str:
        """The word for it in plans and manifests."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. Data: no IO."""
        ...

    @property
    def extra(self) -> str:
        """The extra of ftsdk that a machine needs to train with it, such as `local`."""
        ...

    def translate(self, spec: JobSpec, hardware: Hardware) -> Translation:
        """Decide everything. Pure and offline; loads nothing heavy."""
        ...

    def train(self, request: Mapping[str, Any], context: Context, into: Path) -> Training:
        """Train, in the worker, and save the weights as safetensors into the folder `into`.

        Checkpoints go to `context.folder / "checkpoints" / "checkpoint-STEP"`, each sealed by a manifest when whole.

        Raises:
            Cancelled: `context.is_cancelled()` was true.
            TrainingStopped: Training can't go on, and why.
        """
        ...


DEFAULT_TRAINER = "trl"


def package_of(trainer: str) -> str:
    """Return the distribution that brings a trainer, such as `ftsdk` for `trl`."""
    point = installed("ftsdk.trainers").get(trainer)
    return point.dist.name if point is not None and point.dist is not None else "ftsdk"


def load_trainer(name: str) -> Trainer:
    """Build a trainer by the name of its entry point in the group `ftsdk.trainers`.

    Raises:
        SpecError: No such trainer is installed.
        MissingExtraError: Its package needs another one that isn't installed.
    """
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
