"""Following a job at the service: its state, its events, its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from ftsdk.backends.managed.event_mirror import EventMirror
from ftsdk.backends.managed.run_state import RunFolder
from ftsdk.backends.managed.service import JobEvents, ManagedJob, ManagedService
from ftsdk.errors import BackendError, Diagnosis, RunNotFoundError, SpecError
from ftsdk.protocol import TERMINAL, Event, LogEvent, RunStatus, StateEvent, StepEvent

__all__ = ["JobMonitor", "status_at_end"]

_PATIENCE_S = 0.2
_LATE_S = 60.0
"""The last native events may come so many seconds after the state that they belong to."""


def _price(noted: object) -> Decimal | None:
    try:
        return None if noted is None else Decimal(str(noted))
    except InvalidOperation:
        return None


def status_at_end(folder: RunFolder) -> RunStatus | None:
    """Return the final status of a run from this machine's files alone; None while the run is in progress."""
    last = folder.end_event()
    if last is None:
        return None
    price = folder.end().get("price_usd")
    found = last.diagnosis
    return RunStatus(
        state=last.state,
        native=last.native or last.state,
        reason=last.reason,
        diagnosis=None if found is None else Diagnosis.from_dict(found, message=last.reason),
        log_tail=_log_tail(folder.events()) if last.state == "failed" else "",
        attempts=max(1, len(folder.jobs())),
        price_usd=_price(price),
    )


class JobMonitor:
    """Follows the job of one run, also under another id if the service runs it again.

    Args:
        service: The service.
        folder: The run's folder.
        settle_s: Seconds after which a new job is listed by the service.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self, service: ManagedService, folder: RunFolder, *, settle_s: float, clock: Callable[[], float]
    ) -> None:
        self._service = service
        self._folder = folder
        self._settle_s = settle_s
        self._clock = clock

    def status(self) -> RunStatus:
        """Return the state. A terminal one is returned only once the whole history is on this machine."""
        job, is_restarting = self._job()
        attempts = max(1, len(self._folder.jobs()))
        if is_restarting:
            reason = f"the service is restarting the job (it was {job.native})"
            return RunStatus(state="queued", native="job_restarted", reason=reason, attempts=attempts)
        if job.state in TERMINAL:
            self.mirror()
            reason = "the job is over; waiting for its last events"
            return status_at_end(self._folder) or RunStatus(
                state="finalizing", native=job.native, reason=reason, attempts=attempts
            )
        return RunStatus(state=job.state, native=job.native, reason=job.reason, attempts=attempts)

    def cancel(self) -> None:
        """Request that the job stops, unless it is over or that was requested before.

        Raises:
            BackendError: The service is restarting the job; cancel it again in a moment.
        """
        job, is_restarting = self._job()
        if is_restarting:
            raise BackendError(
                f"the service is restarting run {self._folder.key} under another id; try cancel() again in a moment",
                retryable=True,
            )
        if job.state in (*TERMINAL, "cancelling"):
            return
        try:
            self._service.cancel_job(job.id)
        except (SpecError, BackendError):
            # It may have ended between the two requests; then there is nothing left to cancel.
            if self._service.get_job(job.id).state not in (*TERMINAL, "cancelling"):
                raise

    def mirror(self) -> None:
        """Record what is new at the service. Does nothing while another process does it."""
        with self._folder.held(patience_s=_PATIENCE_S) as is_mine:
            if not is_mine:
                return
            with self._folder.mirror() as mirror:
                if not mirror.has_ended:
                    self._mirror(mirror)

    def _mirror(self, mirror: EventMirror) -> None:
        # The state first: after a terminal state, what is read then is all there is.
        job, is_restarting = self._job()
        job_ids = self._folder.jobs()
        for number, job_id in enumerate(job_ids[1:], start=2):
            message = f"the service restarted the job as {job_id} (attempt {number})"
            mirror.append(LogEvent(message=message, level="warning"), key=f"restart {job_id}")
        histories = [self._service.list_events(replace(job, id=job_id)) for job_id in job_ids]
        newest = histories[-1]
        if newest.is_restarting and self._follower(job_ids) is not None:
            # Whatever the old job's state is, it continues under another id.
            self._mirror(mirror)
            return
        self._record_state(mirror, job, is_restarting=is_restarting)
        mirror.add(entry for history in histories for entry in history.entries)
        if job.state in TERMINAL and not is_restarting and self._is_drained(newest):
            self._record_end(mirror, job)

    def _job(self) -> tuple[ManagedJob, bool]:
        """Return the newest job of the run, and whether the service has announced another one that isn't listed yet."""
        job_ids = self._folder.jobs()
        try:
            job = self._service.get_job(job_ids[-1])
        except RunNotFoundError:
            follower = self._follower(job_ids)
            if follower is None:
                raise
            return self._service.get_job(follower), False
        if not job.may_restart:
            return job, False
        follower = self._follower(job_ids)
        if follower is not None:
            return self._service.get_job(follower), False
        return job, self._service.list_events(job).is_restarting

    def _follower(self, job_ids: Sequence[str]) -> str | None:
        label = self._folder.label
        newest = self._service.find_job(label) if label else None
        if newest is None or newest.id in job_ids:
            return None
        self._folder.add_job(newest.id)
        return newest.id

    def _record_state(self, mirror: EventMirror, job: ManagedJob, *, is_restarting: bool) -> None:
        state = "queued" if is_restarting else job.state
        last = mirror.last_state
        if state in TERMINAL or (last is not None and (last.state, last.native) == (state, job.native)):
            return
        # Between the last event and the next: services don't report when the state changed.
        at = mirror.last_at
        at = job.created_at if at is None else at
        mirror.append(StateEvent(at=at, state=state, native=job.native, reason=job.reason))

    def _is_drained(self, history: JobEvents) -> bool:
        if history.is_complete:
            return True
        # The state may be ahead of the events. The wait for the last one is bounded, since types of events change.
        since = self._folder.end().get("over_since")
        if since is None:
            self._folder.keep_end({"over_since": self._clock()})
            return False
        return self._clock() - float(since) >= min(_LATE_S, self._settle_s)

    def _record_end(self, mirror: EventMirror, job: ManagedJob) -> None:
        end = StateEvent(at=job.updated_at, state=job.state, native=job.native, reason=job.reason)
        if job.state == "failed":
            diagnosis = self._diagnose(job)
            end = end.replace(reason=diagnosis.message, diagnosis=diagnosis._asdict())
        facts: dict[str, Any] = {"job": job.id}
        if job.price_usd is not None:
            facts["price_usd"] = job.price_usd
        self._folder.keep_end(facts)
        mirror.append(end)

    def _diagnose(self, job: ManagedJob) -> Diagnosis:
        events = self._folder.events()
        errors = [event.message for event in events if isinstance(event, LogEvent) and event.level == "error"]
        steps = [event.step for event in events if isinstance(event, StepEvent)]
        return self._service.diagnose(job, errors=errors, step=steps[-1] if steps else None)


def _log_tail(events: Sequence[Event], *, lines: int = 20) -> str:
    texts = [
        e.message if isinstance(e, LogEvent) else f"state: {e.native}"
        for e in events
        if isinstance(e, LogEvent | StateEvent)
    ]
    return "\n".join(texts[-lines:])
