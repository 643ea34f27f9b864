"""What a vendor implements: the requests that a run at a managed service needs, in our types and with our errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ftsdk.backends.managed.event_mirror import Entry
from ftsdk.errors import BackendError, Diagnosis, FtsdkError
from ftsdk.protocol import Plan, RunState
from ftsdk.protocol.estimates import Quote

__all__ = ["JobEvents", "JobQuote", "JobWeights", "LostAnswer", "ManagedJob", "ManagedService", "NoPriceError"]


class LostAnswer(Exception):
    """The request that creates a job was sent, and whether it created one is unknown.

    Args:
        error: What went wrong, as our error.
    """

    def __init__(self, error: FtsdkError) -> None:
        super().__init__(str(error))
        self.error = error


class NoPriceError(BackendError):
    """The service answered, and has no price for the job (yet, if retryable)."""


@dataclass(frozen=True, kw_only=True)
class ManagedJob:
    """A job at the service, as one look shows it."""

    id: str
    state: RunState
    native: str
    """The service's own word for the state."""
    label: str = ""
    """The label it was created with; empty: not reported."""
    model: str = ""
    """The service's name of the model that it tunes; empty: not reported."""
    created_at: float = 0.0
    """Seconds since the epoch, UTC; 0: not reported."""
    updated_at: float = 0.0
    """Seconds since the epoch, UTC, of the last change; 0: not reported."""
    total_steps: int | None = None
    reason: str = ""
    """Progress, or why it ended as it did."""
    price_usd: str | None = None
    """The final price in US dollars, as a decimal number; None: not reported."""
    may_restart: bool = False
    """Whether the service may run it again under another id, although this state is terminal."""


@dataclass(frozen=True, kw_only=True)
class JobEvents:
    """Everything that the service lists of a job's history, in order of time."""

    entries: Sequence[Entry]
    is_complete: bool = True
    """Whether nothing more will come once the job is over; False makes the monitor wait a little for late entries."""
    is_restarting: bool = False
    """Whether the service has announced that it runs the job again under another id."""


@dataclass(frozen=True, kw_only=True)
class JobQuote:
    """The service's price for a job that isn't created yet."""

    quote: Quote
    refusal: str = ""
    """Why the account can't start a job at this price, and what to do about it; empty: it can."""


@dataclass(frozen=True, kw_only=True)
class JobWeights:
    """What a finished job offers for download."""

    kind: Literal["adapter", "model"]
    base: str
    """Hub id of the model that was tuned."""
    variant: str = "weights"
    """The service's name for this download, if it offers several."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further facts for the manifest."""


class ManagedService(Protocol):
    """One account at a managed service. Every method raises our errors only, and none of them holds the API key.

    A run is found by its label, which `create_job` stores with the job: the same run has the same label on every
    machine.
    """

    def prepare(self, plan: Plan, *, drafts: Path) -> Mapping[str, Any]:
        """Check the plan against the service's limits, upload missing data, and return the final request.

        Spends nothing. Asking again uploads nothing twice.

        Args:
            plan: What is to be trained.
            drafts: A folder for files on their way.

        Raises:
            UnsupportedSpecError: The service's limits don't allow it; nothing was uploaded.
            DatasetError: The service refused the data.
        """
        ...

    def quote(self, plan: Plan, request: Mapping[str, Any]) -> JobQuote | None:
        """Return the service's price for a prepared request, or None if the service gives no prices.

        Raises:
            NoPriceError: The service has none for this job.
        """
        ...

    def create_job(self, request: Mapping[str, Any], *, label: str) -> str:
        """Create a job with exactly one HTTP request, and return its id.

        Raises:
            LostAnswer: Whether there is a job now is unknown.
            FtsdkError: There is none.
        """
        ...

    def find_job(self, label: str) -> ManagedJob | None:
        """Return the newest job with this label; None if the service lists none."""
        ...

    def get_job(self, job_id: str) -> ManagedJob:
        """Return the job.

        Raises:
            RunNotFoundError: The service has no such job.
        """
        ...

    def list_events(self, job: ManagedJob) -> JobEvents:
        """Return the history of a job; the same event has the same `Entry.key` each time."""
        ...

    def cancel_job(self, job_id: str) -> None:
        """Request that a job stops."""
        ...

    def diagnose(self, job: ManagedJob, *, errors: Sequence[str], step: int | None) -> Diagnosis:
        """Return why a failed job failed.

        Args:
            job: The job.
            errors: The error lines of its log, the newest last.
            step: The last optimizer step that was reported.
        """
        ...

    def describe_weights(self, job_id: str, submission: Mapping[str, Any]) -> JobWeights:
        """Return what a finished job offers for download.

        Args:
            job_id: The job.
            submission: `request` and `spec` of the run; empty if it was submitted from another machine.
        """
        ...

    def download(self, job_id: str, weights: JobWeights, *, into: Path) -> None:
        """Download a finished job's weights into one archive, resuming where an earlier try stopped.

        Raises:
            BackendError: It broke off; what came so far is kept.
        """
        ...
