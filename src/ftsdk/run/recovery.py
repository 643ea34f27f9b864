"""Runs whose record is lost, made again from what their backend left in their folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from ftsdk.backends.registry import backend_names, get_backend
from ftsdk.errors import FtsdkError, RunNotFoundError
from ftsdk.protocol import Backend, CanRecover, Plan
from ftsdk.run.record import Record
from ftsdk.run.record_copies import COPY_PREFIX

__all__ = ["recovered_record"]

_REQUEST = "run.json"


def recovered_record(folder: Path) -> Record:
    """Return the record of the run in a folder, without its evals, which are in the lost record only.

    Args:
        folder: The run's folder, named by its key.

    Raises:
        FtsdkError: Nothing in it, or at the backend that its files name, says what was submitted.
    """
    names = list(dict.fromkeys(_backends_of(folder)))
    if not names:
        raise RunNotFoundError("no file in it says at which backend the run is")
    reasons: list[str] = []
    for name in names:
        try:
            record = _from(get_backend(name), folder)
        except FtsdkError as error:
            reasons.append(f"{name}: {error}")
        else:
            if record is not None:
                return record
            reasons.append(f"{name} keeps no request in it")
    raise RunNotFoundError("; ".join(reasons))


def _backends_of(folder: Path) -> Iterator[str]:
    """Yield the backends that left a file here, those whose own file it is first."""
    with suppress(OSError, ValueError, RecursionError):
        request: Any = json.loads((folder / _REQUEST).read_bytes())
        launch = cast("dict[str, Any]", request).get("launch") if isinstance(request, dict) else None
        launcher = cast("dict[str, Any]", launch).get("launcher") if isinstance(launch, dict) else None
        if launcher in backend_names():
            yield str(launcher)
    for name in backend_names():
        if (folder / f"{name}.json").is_file() or (folder / f"{COPY_PREFIX}{name}.json").exists():
            yield name


def _from(backend: Backend, folder: Path) -> Record | None:
    if not isinstance(backend, CanRecover):
        raise RunNotFoundError("this backend can't tell what was submitted from a run's folder")
    found = backend.recover(folder.name)
    if found is None:
        return None
    written_at = min(path.stat().st_mtime for path in folder.iterdir())
    return Record(
        ref=f"{backend.name}:{folder.name}",
        name=found.plan.spec.name,
        plan=_with_billing(found.plan, backend).to_dict(),
        options=dict(found.options),
        native=dict(found.native or {}),
        created_at=written_at,
        submitted_at=None if found.native is None else written_at,
        state="intended" if found.native is None else "queued",
    )


def _with_billing(plan: Plan, backend: Backend) -> Plan:
    """Return the plan with what its backend adds to the request, such as workload and billing, by today's prices."""
    try:
        return backend.plan(plan.spec).replace(request=plan.request)
    except FtsdkError:
        return plan
