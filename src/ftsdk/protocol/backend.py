"""The protocols that backends implement.

A backend is any object that has the methods of `Backend`; it needs no base class. `plan` is pure and makes all
decisions; the other methods carry them out. `ftsdk.testing.BackendConformance` tests a backend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from ftsdk.protocol.capabilities import Capabilities
from ftsdk.protocol.estimates import Quote
from ftsdk.protocol.events import Event
from ftsdk.protocol.plan import Plan
from ftsdk.protocol.run_state import Artifact, RunRef, RunStatus
from ftsdk.spec import JobSpec, Value

__all__ = [
    "Backend",
    "CanCheckAccess",
    "CanFind",
    "CanListOrphans",
    "CanQuote",
    "CanRecover",
    "CanResume",
    "Orphan",
    "Recovered",
]


@runtime_checkable
class Backend(Protocol):
    """A provider or a machine that can run a job."""

    @property
    def name(self) -> str:
        """The name in `backend="..."` and at the start of a ref."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the backend can do. Reads nothing from disk or network."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it, as JSON. Stored with each run, so that any process can open it."""
        ...

    def plan(self, spec: JobSpec) -> Plan:
        """Plan the run offline. The same spec always has the same plan.

        Raises:
            UnsupportedSpecError: A field that was set can't be honoured.
        """
        ...

    def submit(self, plan: Plan, *, key: str) -> RunRef:
        """Start the run. The same key always means the same run, even after a crash or a timeout.

        Args:
            plan: As returned by `plan`.
            key: The `id` of the ref, which is in the ledger before anything is sent. The backend's own ids go into the
                ref's `native`.

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
        """Return the events so far whose `seq` is above `after`, in order. Never blocks."""
        ...

    def cancel(self, ref: RunRef) -> None:
        """Request that the run stops. A second request, or one after the end, does nothing."""
        ...

    def collect(self, ref: RunRef, into: Path) -> Artifact:
        """Download the weights into a folder: the files first, `manifest.json` last.

        Raises:
            RunNotReadyError: The run hasn't succeeded.
            CorruptArtifactError: The files don't match their manifest.
        """
        ...


@runtime_checkable
class CanCheckAccess(Protocol):
    """A backend that can be asked whether a job could be submitted now, for `ftsdk doctor --online`."""

    def check_access(self, *, timeout_s: float) -> str:
        """Ask for something that costs nothing and changes nothing, and return what answered, in a few words.

        Args:
            timeout_s: Seconds to wait for the answer.

        Raises:
            CredentialsError: A key is missing, or was refused.
            MissingExtraError: A package that the backend needs isn't installed.
            SpecError: It isn't said whom to ask.
            BackendError: There is no answer; retryable if there may be one later.
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

        Starts nothing and spends nothing. A price over the budget, or over the account's limit, is returned, too.

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

        Returns False if the run is in progress or over, or has crashed too often.
        """
        ...


class Recovered(NamedTuple):
    """What a backend can tell of a run whose record is lost."""

    plan: Plan
    """With at least the spec and the request."""
    native: Mapping[str, str] | None
    """The backend's own ids of the run; None: it was never confirmed."""
    options: Mapping[str, Any]
    """The arguments that rebuild the backend, as far as they are known."""


@runtime_checkable
class CanRecover(Protocol):
    """A backend that can tell from a run's files what was submitted, so that a lost record can be made again."""

    def recover(self, key: str) -> Recovered | None:
        """Return what was submitted under a key, or None if its files don't say. Changes nothing.

        Raises:
            FtsdkError: The files can't be read, or don't hold all of it.
        """
        ...


class Orphan(Value):
    """Something at a provider that no run in the ledger needs, or a run in the ledger without anything there."""

    kind: Literal["app", "run"]
    """`app`: at the provider, and no run in the ledger needs it.

    `run`: in the ledger, and nothing at the provider belongs to it.
    """
    run_id: str = ""
    native: str = ""
    """The provider's own id."""
    name: str = ""
    advice: str
    """What to do about it."""


@runtime_checkable
class CanListOrphans(Protocol):
    """A backend that may leave things behind that cost money, such as apps after a crash."""

    def list_orphans(self, states: Mapping[str, str]) -> list[Orphan]:
        """Compare what is at the provider with a ledger's runs. Changes nothing.

        Args:
            states: State by run id, of all runs in the ledger.
        """
        ...
