"""The same job again: from a run's record to a new run, on the same rows."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ftsdk.data import Store
from ftsdk.errors import DatasetError
from ftsdk.job.job import FineTuneJob
from ftsdk.protocol import Backend
from ftsdk.run.difference import Change
from ftsdk.run.reproduction import version_changes
from ftsdk.run.run import Run
from ftsdk.spec import JobFields, set_fields

__all__ = ["changed_versions", "job_of_run", "reproduce"]


def reproduce(run: Run, *, backend: Backend | str | None = None) -> Run:
    """Start a run's job again, on the same rows, and return at once; `run.compare_repeat` judges what came out.

    Args:
        run: A run of any day.
        backend: Where; None: where the run was, with the same options.

    Raises:
        DatasetError: Rows of the run aren't in the store, or were changed.
        FtsdkError: As `FineTuneJob.submit`.
    """
    return job_of_run(run, backend=backend).submit()


def job_of_run(run: Run, *, backend: Backend | str | None = None) -> FineTuneJob:
    """Return the job of a run, with its rows from the store.

    Raises:
        DatasetError: Rows of the run aren't in the store, or were changed.
    """
    spec, store = run.plan.spec, Store()
    rows: dict[str, Any] = {}
    for part in ("train", "validation"):
        ref = getattr(spec, part)
        if ref is None:
            continue
        try:
            rows[part] = store.load(ref)
        except DatasetError as error:
            raise DatasetError(
                f"run {run.ref} can't be reproduced: its {part} rows ({ref.name}, {ref.fingerprint[:12]}...) aren't in "
                f"this machine's store as they were ({error}). Load the same file with the same steps, and store it: "
                "ftsdk.data.Store().put(dataset); the same rows have the same fingerprint"
            ) from error
        if rows[part].fingerprint != ref.fingerprint:
            raise DatasetError(
                f"run {run.ref} can't be reproduced: the {part} rows in the store have another fingerprint"
            )
    names = {path.partition(".")[0] for path in set_fields(spec)} & set(JobFields.model_fields)
    fields = {name: getattr(spec, name) for name in names}
    evals = run.evals
    # Leaks, if there are any, were allowed when the run was submitted.
    allowed = [*(["validation"] if "validation" in rows else []), *(one.name for one in evals)]
    return FineTuneJob(
        model=spec.model,
        **rows,
        **fields,
        evals=evals,
        allow_leaks=allowed,
        backend=run.backend if backend is None else backend,
    )


def changed_versions(run: Run) -> tuple[Change, ...]:
    """Return which packages are here in another version than the run was trained with, as far as its weights say."""
    then = (run.collect().manifest.get("info") or {}).get("versions") or {}
    now: dict[str, str] = {}
    for name in then:
        try:
            now[name] = version(name)
        except PackageNotFoundError:
            continue
    return tuple(version_changes(then, now))
