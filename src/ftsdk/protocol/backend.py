"""The waist: what every backend takes and gives.

A backend is whatever fits `Backend`; it needs no base class. `plan` decides and is pure, everything else acts and is thin.
`ftsdk.testing.BackendConformance` holds a backend to all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from ftsdk.protocol.capabilities import Capabilities
from ftsdk.protocol.estimates import Quote
from ftsdk.protocol.events import Event
from ftsdk.protocol.plan import Plan
from ftsdk.protocol.run_state import Artifact, RunRef, RunStatus
from ftsdk.spec import JobSpec, Value

__all__ = ["Backend", "CanFind", "CanListOrphans", "CanQuote", "CanResume", "Orphan"]


@runtime_checkable
class Backend(Protocol):
    """A place where a job can run, with everything that is needed there."""

    @property
    def name(self) -> str:
        """The word in `backend="..."` and at the front of a ref."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. Data: no IO."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it, as JSON: kept with each run, so that another process can open the run."""
        ...

    def plan(self, spec: JobSpec) -> Plan:
        """Decide everything, send nothing. The same spec gives the same plan.

        Raises:
            UnsupportedSpecError: A field that was set can't be honoured.
        """
        ...

    def submit(self, plan: Plan, *, key: str) -> RunRef:
        """Start the run. The same key is the same run, also after a crash or a timeout.

        Args:
            plan: As `plan` gave it.
            key: The ref's `id`: known, and in the ledger, before anything is sent. What the backend calls the run goes into
                the ref's `native`.

        Raises:
            BackendError: The place said no, or nothing.
        """
        ...

    def status(self, ref: RunRef) -> RunStatus:
        """Say where the run is.

        Raises:
            RunNotFoundError: The backend doesn't know it.
        """
        ...

    def events(self, ref: RunRef, *, after: int = -1) -> Iterable[Event]:
        """Give the events that exist now and have a `seq` over `after`, in order. Never blocks."""
        ...

    def cancel(self, ref: RunRef) -> None:
        """Ask the run to stop. Asking twice, or after the end, does nothing."""
        ...

    def collect(self, ref: RunRef, into: Path) -> Artifact:
        """Bring the weights into a folder: the files first, `manifest.json` last.

        Raises:
            RunNotReadyError: The run hasn't succeeded.
            CorruptArtifactError: What came doesn't match its manifest.
        """
        ...


@runtime_checkable
class CanFind(Protocol):
    """A backend that can look for a run whose submission got no answer, without submitting it again."""

    def find(self, plan: Plan, *, key: str) -> RunRef | None:
        """Give the run that was submitted under a key, or None if there is none and none can come of it any more.

        Raises:
            BackendError: It can't be told now; retryable.
        """
        ...


@runtime_checkable
class CanQuote(Protocol):
    """A backend whose place can be asked what a planned run will cost."""

    def quote(self, plan: Plan) -> Quote:
        """Ask for the price. It may send the data, which a later `submit` then doesn't send again; it starts nothing and spends nothing.

        A price over the budget, or one that the account may not spend, is a price all the same.

        Raises:
            UnsupportedSpecError: The place's own limits don't allow the run.
            DatasetError: It refused the data.
            BackendError: It can't say.
        """
        ...


@runtime_checkable
class CanResume(Protocol):
    """A backend whose runs may stand still (status `queued`, native `interrupted`) and can be set going again."""

    def resume(self, ref: RunRef) -> bool:
        """Go on from the last whole checkpoint. Gives False if the run is going or over, or has crashed too often."""
        ...


class Orphan(Value):
    """Something at a place that has no counterpart here, or the other way round."""

    kind: Literal["app", "run"]
    """`app`: it is there, and no run in the ledger needs it. `run`: it is in the ledger, and nothing is there for it."""
    run_id: str = ""
    native: str = ""
    """What the place calls it."""
    name: str = ""
    advice: str
    """What can be done about it."""


@runtime_checkable
class CanListOrphans(Protocol):
    """A backend where things that cost money may be left behind."""

    def orphans(self, states: Mapping[str, str]) -> list[Orphan]:
        """Compare what the backend has with the runs of a ledger, given as state by run id. Changes nothing."""
        ...
