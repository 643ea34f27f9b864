"""The waist: the protocols that backends implement.

A backend is whatever fits `Backend`; it needs no base class. `plan` decides and is pure, everything else acts and is
thin. `ftsdk.testing.BackendConformance` holds a backend to all of it.
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
    """A provider or a machine that can run a job."""

    @property
    def name(self) -> str:
        """The word in `backend="..."` and at the front of a ref."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the backend can do. Data: no IO."""
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
            key: The ref's `id`: known, and in the ledger, before anything is sent. What the backend calls the run goes
                into the ref's `native`.

        Raises:
            BackendError: The provider refused, or didn't answer.
        """
        ...

    def status(self, ref: RunRef) -> RunStatus:
        """Return the status of the run. Changes nothing.

        Raises:
            RunNotFoundError: The backend doesn't know it.
        """
        ...

    def events(self, ref: RunRef, *, after: int = -1) -> Iterable[Event]:
        """Return the events so far that have a `seq` over `after`, in order. Never blocks."""
        ...

    def cancel(self, ref: RunRef) -> None:
        """Request that the run stops. A second request, or one after the end, does nothing."""
        ...

    def collect(self, ref: RunRef, into: Path) -> Artifact:
        """Download the weights into a folder: the files first, `manifest.json` last.

        Raises:
            RunNotReadyError: The run hasn't succeeded.
            CorruptArtifactError: What came doesn't match its manifest.
        """
        ...


@runtime_checkable
class CanFind(Protocol):
    """A backend that can look for a run whose submission got no answer, without submitting it again."""

    def find(self, plan: Plan, *, key: str) -> RunRef | None:
        """Return the run that was submitted under a key, or None if there is none and none can appear later.

        Raises:
            BackendError: It can't be determined now; retryable.
        """
        ...


@runtime_checkable
class CanQuote(Protocol):
    """A backend whose provider quotes the price of a planned run."""

    def quote(self, plan: Plan) -> Quote:
        """Request the price. May upload the data, which a later `submit` then doesn't upload again.

        Starts nothing and spends nothing.

        A price over the budget, or over what the account may spend, is returned all the same.

        Raises:
            UnsupportedSpecError: The provider's own limits don't allow the run.
            DatasetError: The provider refused the data.
            BackendError: The provider has no price for it now.
        """
        ...


@runtime_checkable
class CanResume(Protocol):
    """A backend whose runs may stall (status `queued`, native `interrupted`) and can be resumed."""

    def resume(self, ref: RunRef) -> bool:
        """Resume from the last whole checkpoint.

        Returns False if the run is at work or over, or has crashed too often.
        """
        ...


class Orphan(Value):
    """Something at a provider that no run in the ledger needs, or a run in the ledger that has nothing there."""

    kind: Literal["app", "run"]
    """`app`: at the provider, and no run in the ledger needs it.

    `run`: in the ledger, and nothing at the provider belongs to it.
    """
    run_id: str = ""
    native: str = ""
    """The provider's own id."""
    name: str = ""
    advice: str
    """What can be done about it."""


@runtime_checkable
class CanListOrphans(Protocol):
    """A backend that may leave behind things that cost money, such as apps after a crash."""

    def list_orphans(self, states: Mapping[str, str]) -> list[Orphan]:
        """Compare what is at the provider with a ledger's runs. Changes nothing.

        Args:
            states: State by run id, of all runs in the ledger.
        """
        ...
