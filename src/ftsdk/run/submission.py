"""From a record in the ledger to a run at its backend, whatever was interrupted in between."""

from __future__ import annotations

import logging
from dataclasses import replace

from ftsdk.errors import BudgetExceededError, CredentialsError, DatasetError, Diagnosis, SpecError
from ftsdk.protocol import TERMINAL, Backend, CanFind, Plan, RunRef, RunStatus
from ftsdk.protocol.meter import OVER_BUDGET
from ftsdk.run.home_access import usable_home
from ftsdk.run.ledger import Ledger, Record

__all__ = ["confirm", "ref_of", "status_of", "submit"]


def ref_of(record: Record) -> RunRef:
    """Return the ref with the backend's own names in it."""
    parsed = RunRef.parse(record.ref)
    return RunRef(backend=parsed.backend, id=parsed.id, native=record.native)


_log = logging.getLogger(__name__)
_NO_KEY = "not submitted: "
"""How the reason of a run begins whose only submission was refused for want of a key."""
_CANCELLED = "cancelled before anything was started"


def submit(record: Record, plan: Plan, backend: Backend, ledger: Ledger, *, is_first: bool = False) -> Record:
    """Submit a run that is in the ledger, under its key: the same run, whether or not the backend got it before.

    Args:
        record: The run.
        plan: Its plan.
        backend: Where to submit it.
        ledger: Where it is written down.
        is_first: It was never submitted before, so that without a key nothing can have been started.

    Raises:
        FtsdkError: The backend's error. If it refused the spec, the data or the budget, nothing was started, and the
            ledger has the reason; otherwise the run stays intended, and can be submitted again.
    """
    if record.reason.startswith(_NO_KEY):
        record = ledger.note(record.ref, "")
    _log.info("submitting run %s", record.ref)
    try:
        with usable_home():
            ref = backend.submit(plan, key=RunRef.parse(record.ref).id)
    except (SpecError, DatasetError, BudgetExceededError) as error:
        ledger.never_started(record.ref, "failed", str(error))
        raise
    except CredentialsError as error:
        if is_first:
            ledger.note(record.ref, f"{_NO_KEY}{error}")
        raise
    return ledger.submitted(record.ref, ref.native)


def confirm(record: Record, plan: Plan, backend: Backend, ledger: Ledger) -> Record:
    """Find out whether the backend has a run whose submission was never confirmed, for a run that is to be cancelled.

    Returns:
        The record: submitted if the backend has the run; otherwise over, and nothing was started.
    """
    if record.state in TERMINAL:
        return record
    if record.reason.startswith(_NO_KEY):
        return ledger.never_started(record.ref, "cancelled", _CANCELLED)
    if not isinstance(backend, CanFind):
        # To submit again under the same key is the only way to ask a backend that can't search.
        return submit(record, plan, backend, ledger)
    found = backend.find(plan, key=RunRef.parse(record.ref).id)
    if found is None:
        return ledger.never_started(record.ref, "cancelled", _CANCELLED)
    return ledger.submitted(record.ref, found.native)


def status_of(record: Record, backend: Backend) -> RunStatus:
    """Return the status of a run: from its backend if it was submitted, otherwise from the ledger. Writes nothing."""
    if record.submitted_at is None:
        return _status_of_intent(record)
    with usable_home():
        status = backend.status(ref_of(record))
    if status.state == "cancelled" and status.native != OVER_BUDGET and record.reason:
        return replace(status, reason=record.reason)
    return status


def _status_of_intent(record: Record) -> RunStatus:
    if record.state in TERMINAL:
        is_failed = record.state == "failed"
        return RunStatus(
            state="failed" if is_failed else "cancelled",
            native="refused" if is_failed else "never started",
            reason=record.reason,
            diagnosis=Diagnosis("refused", record.reason) if is_failed else None,
        )
    reason = (
        f"{record.reason}. resume() submits it"
        if record.reason.startswith(_NO_KEY)
        else "the backend never confirmed that it got the run; resume() submits it again, under the same key"
    )
    return RunStatus(state="queued", native="intended", reason=reason)
