"""From a job to a run: the data stored, the run in the ledger, then the request to the backend."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ftsdk.data import Dataset, Store
from ftsdk.evals import Eval
from ftsdk.run.home_access import check_home, usable_home
from ftsdk.run.ledger import Ledger, Record
from ftsdk.run.run import Run
from ftsdk.run.submission import submit

if TYPE_CHECKING:
    from ftsdk.job.job import FineTuneJob

__all__ = ["new_key", "store_data", "stored_eval", "stored_recipe", "submit_job"]


def new_key() -> str:
    """Return a key that no run has yet."""
    return f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(3)}"


def submit_job(job: FineTuneJob, *, key: str, sweep: Mapping[str, Any] | None = None) -> Run:
    """Start a run under a key, and return at once. See `FineTuneJob.submit`.

    Args:
        job: What to run.
        key: The run's own; no other run may have it.
        sweep: The sweep that the run belongs to, and what it differs in; kept in the run's record.

    Raises:
        FtsdkError: As `FineTuneJob.submit`.
        SpecError: A run with this key is in the ledger already.
    """
    check_home()
    plan = job.plan()
    backend = job.resolved_backend
    store_data(job)
    ledger = Ledger()
    record = ledger.intend(
        Record(
            ref=f"{backend.name}:{key}",
            name=job.name,
            plan=plan.to_dict(),
            options=dict(backend.options),
            evals=tuple(stored_eval(e) for e in job.evals),
            gate=None if job.gate is None else job.gate.to_dict(),
            sweep=sweep,
        )
    )
    return Run(submit(record, plan, backend, ledger, is_first=True), backend, ledger=ledger)


def store_data(job: FineTuneJob) -> None:
    """Put the rows of a job and of its evals into the store, where later processes find them."""
    store = Store()
    with usable_home():
        for data in (job.train, job.validation, *(e.data for e in job.evals)):
            if isinstance(data, Dataset):
                store.put(data)


def stored_eval(an_eval: Eval) -> dict[str, Any]:
    """Describe an eval whose rows are in the store.

    The file that they came from may change before the evaluation. Those of a suite come with ftsdk.
    """
    data = an_eval.data
    if not isinstance(data, Dataset):
        return an_eval.to_dict()
    return {**an_eval.to_dict(), "data": stored_recipe(data)}


def stored_recipe(data: Dataset) -> dict[str, Any]:
    """Return the recipe that reads a dataset from the store, whatever becomes of the file that it came from."""
    return {"stored": data.fingerprint, "format": data.format, "name": data.name}
