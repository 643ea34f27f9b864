"""The `Launcher` protocol: where a run's files are kept, and how a worker is started and stopped there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from ftsdk.errors import Gap
from ftsdk.protocol import Adjustment, Billing, StateEvent
from ftsdk.spec import JobSpec

__all__ = [
    "CanAnswer",
    "CanQueue",
    "CanReadOptions",
    "Hardware",
    "LaunchPlan",
    "Launcher",
    "QueuedJob",
    "RunFiles",
    "Sharding",
]

Sharding = Literal["none", "full"]
"""`none`: each process has the whole model. `full`: parameters, gradients and optimizer states are spread over all."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a worker will run on."""

    device: Literal["cuda", "mps", "cpu"]
    name: str
    """Display name: `NVIDIA H100 80GB HBM3`, `Apple M3`, `8-core CPU`."""
    processes: int = 1
    """Worker processes, one for each device."""
    sharding: Sharding = "none"
    """Whether each process has the whole model, or a share of it."""
    memory_gib: float | None = None
    """Memory of one device, in GiB; None: not known."""
    has_bfloat16: bool = True
    """Whether bfloat16 matrix products are native and fast."""
    reason: str = ""
    """Why this hardware was chosen."""
    larger: str = "a device with more memory"
    """How to get more memory, for advice."""


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """How the worker will be started: the launcher's part of a plan."""

    request: Mapping[str, Any]
    """What `start` gets, as JSON. The worker reads three of its keys, all optional:

    - `processes`: worker processes, one for each device.
    - `log_events`: whether the lines of the worker's log become events, because users can't read the log.
    - `usd_per_hour`: US dollars an hour, as text, if nothing but the worker itself can stop the run at `budget_usd`.
    """
    adjustments: tuple[Adjustment, ...] = ()
    """What the user left open, as the launcher chose it."""
    gaps: tuple[Gap, ...] = ()
    """What the launcher can't do; any gap refuses the plan."""
    billing: Billing | None = None
    """What is billed, and at which prices; None: not known."""
    notes: tuple[str, ...] = ()
    """What the user should know before the start."""
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    """Local folders and files that a worker needs: path on this machine -> name in the run's folder."""


class RunFiles(Protocol):
    """The files of one run, where its worker runs. Names are relative to the run's folder."""

    def read(self, name: str, *, start: int = 0) -> bytes | None:
        """Return the bytes from `start` on, or None if there is no such file."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        ...

    def put(self, sources: Mapping[str, Path]) -> None:
        """Upload files, by name, except those that are there already with the same size."""
        ...

    def age_s(self, name: str) -> float | None:
        """Return the seconds since the file was written, or None if there is no such file."""
        ...

    def fetch(self, folder: str, into: Path) -> None:
        """Download a whole folder, its `manifest.json` last."""
        ...


@runtime_checkable
class CanReadOptions(Protocol):
    """A launcher that knows its own arguments again from a run's launch request."""

    def options_of(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments, as far as the request says.

        Raises:
            ValueError: The request is damaged.
        """
        ...


@runtime_checkable
class CanAnswer(Protocol):
    """A launcher that can be asked whether a worker could be started now."""

    def answer(self, *, timeout_s: float) -> str:
        """Return what is there, in a few words. Changes nothing.

        Raises:
            FtsdkError: It isn't there, or can't be used.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class QueuedJob:
    """A worker that was submitted and waits for its machine."""

    native: str
    """The scheduler's word, such as `PENDING`."""
    reason: str
    """Why it waits, and what to do if it waits in vain."""
    is_blocked: bool = False
    """Whether it waits for ever unless someone acts."""


@runtime_checkable
class CanQueue(Protocol):
    """A launcher whose workers wait in a queue, and count as running meanwhile."""

    def queued(self, run_id: str) -> QueuedJob | None:
        """Return why the worker hasn't started yet; None if it has, or if there is none. Changes nothing."""
        ...


class Launcher(Protocol):
    """Runs workers somewhere: on this machine, on Modal, on a cluster."""

    @property
    def name(self) -> str:
        """Its name in plans and manifests."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it, as JSON."""
        ...

    def hardware(self, spec: JobSpec) -> Hardware:
        """Return what a worker for this spec will run on. Offline and quick."""
        ...

    def launch(self, spec: JobSpec) -> LaunchPlan:
        """Plan how the worker will be started. Pure.

        Raises:
            BudgetExceededError: `budget_usd` doesn't pay for anything useful.
        """
        ...

    def files(self, run_id: str) -> RunFiles:
        """Return the files of a run, whether it exists or not."""
        ...

    def start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        """Start a worker on the run's files, without waiting for it. Return False if one is running already.

        Args:
            run_id: The run.
            request: The `request` of the `LaunchPlan`.

        Raises:
            BackendError: It couldn't be started.
        """
        ...

    def native(self, run_id: str) -> Mapping[str, str]:
        """Return the provider's own ids for the run, for its dashboard and its support; empty if there are none."""
        ...

    def is_running(self, run_id: str) -> bool:
        """Return whether a worker is running or waits in a queue. Changes nothing.

        A reused process id must not count.
        """
        ...

    def stop(self, run_id: str) -> None:
        """Kill the worker with all its processes. Does nothing if there is none."""
        ...

    def record_end(self, run_id: str, end: StateEvent) -> bool:
        """Append the last event of a run whose worker is gone. Return False if a worker is running.

        A run that has an end keeps it. The event's `at` is kept if it is set.
        """
        ...
