"""What a place has to offer: somewhere to keep a run's files, and a way to start and stop a worker beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ftsdk.errors import Gap
from ftsdk.protocol import Adjustment, Billing
from ftsdk.spec import JobSpec

__all__ = ["Hardware", "LaunchPlan", "Launcher", "RunFiles"]


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a worker will find at the place."""

    device: Literal["cuda", "mps", "cpu"]
    name: str
    """For people: `NVIDIA H100 80GB HBM3`, `Apple M3`, `8 CPU cores`."""
    processes: int = 1
    """Worker processes, one for each device."""
    memory_gib: float | None = None
    """Memory of one device."""
    has_bfloat16: bool = True
    """True if bfloat16 products are native and fast."""
    reason: str = ""
    """How this was found out."""
    larger: str = "a device with more memory"
    """How to get more memory there, for advice."""


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """How the worker will be started: the place's part of a plan."""

    request: Mapping[str, Any]
    """JSON. The worker reads `processes` and `log_events` in it, and `usd_per_hour`.

    A price in US dollars, as text, that nobody else at the place watches, so that the worker stops itself at
    `budget_usd`. `startup_timeout_s`: the start of a worker is billed, for so long at most.
    """
    adjustments: tuple[Adjustment, ...] = ()
    gaps: tuple[Gap, ...] = ()
    billing: Billing | None = None
    """What is billed, and at which prices; None: not known."""
    notes: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    """Folders and files that have to be brought to the place before a worker can start.

    Path here -> name in the run's folder.
    """


class RunFiles(Protocol):
    """The files of one run at the place, by name relative to the run's folder."""

    def read(self, name: str, *, start: int = 0) -> bytes | None:
        """Give the bytes from `start` on, or None if there is no such file."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a small file so that readers see all of it or none."""
        ...

    def put(self, sources: Mapping[str, Path]) -> None:
        """Bring files there, by name; those that are there already with the same size are left out."""
        ...

    def age_s(self, name: str) -> float | None:
        """Say how long ago the file was written, or None if there is no such file."""
        ...

    def fetch(self, folder: str, into: Path) -> None:
        """Bring a whole folder here; `manifest.json`, if there is one, comes last."""
        ...


class Launcher(Protocol):
    """A place: this machine, Modal, a cluster."""

    @property
    def name(self) -> str:
        """The word for it in plans and manifests."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it, as JSON."""
        ...

    def hardware(self, spec: JobSpec) -> Hardware:
        """Say what a worker for this spec will find. Offline and quick."""
        ...

    def launch(self, spec: JobSpec) -> LaunchPlan:
        """Decide how the worker will be started. Pure.

        Raises:
            BudgetExceededError: The place can't do anything useful for `budget_usd`.
        """
        ...

    def files(self, run_id: str) -> RunFiles:
        """Give the files of a run, whether it exists or not."""
        ...

    def start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        """Start a worker on the run's files; False if one is at work already. Returns at once.

        Raises:
            BackendError: The place won't start it.
        """
        ...

    def native(self, run_id: str) -> Mapping[str, str]:
        """Say what the place calls the run: ids for its dashboard and its support.

        Empty if it has no words of its own.
        """
        ...

    def is_running(self, run_id: str) -> bool:
        """True while a worker is at work. Must not be fooled by a reused process id."""
        ...

    def stop(self, run_id: str) -> None:
        """End the worker the hard way, with all its processes. No-op if there is none."""
        ...

    def record_end(self, run_id: str, line: Mapping[str, Any]) -> bool:
        """Append an event on behalf of a worker that is no more; False if a worker is at work."""
        ...
