"""Runs whose record is lost, made again from what their backend left in their folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ftsdk.backends.registry import backend_names, get_backend
from ftsdk.errors import FtsdkError, RunNotFoundError
from ftsdk.protocol import Backend, CanRecover, Plan
from ftsdk.run.record import Record
from ftsdk.run.record_copies import COPY_PREFIX

if TYPE_CHECKING:
    from ftsdk.cost.training.tokens import RowTokens

__all__ = ["recovered_record"]

_REQUEST = "run.json"
_log = logging.getLogger("ftsdk")


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
        plan=_with_estimate(_with_billing(found.plan, backend, found.options), folder.name).to_dict(),
        options=dict(found.options),
        native=dict(found.native or {}),
        created_at=written_at,
        submitted_at=None if found.native is None else written_at,
        state="intended" if found.native is None else "queued",
    )


def _with_billing(plan: Plan, backend: Backend, options: Mapping[str, Any]) -> Plan:
    """Return the plan with what its backend adds to the request: workload, estimate and billing, by today's prices."""
    try:
        return get_backend(backend.name, options).plan(plan.spec).replace(request=plan.request)
    except FtsdkError:
        return plan


def _with_estimate(plan: Plan, run_id: str) -> Plan:
    """Return the plan with an estimate anew, by guessed tokens: the budget of a run is held by its price in it.

    Without the rows, which the store has, or the model's facts there is none, and a warning says so.
    """
    from ftsdk.cost.training.estimate import estimate
    from ftsdk.cost.training.tokens import text_sample, tokens_from_guesses
    from ftsdk.data import Store
    from ftsdk.data.token_guess import guess_turns
    from ftsdk.models import inspect_model

    spec = plan.spec
    try:
        facts = inspect_model(spec.model)
        limit = spec.max_length or facts.max_position_embeddings
        parts: list[RowTokens | None] = []
        for ref in (spec.train, spec.validation):
            if ref is None:
                parts.append(None)
                continue
            rows = Store().open(ref.fingerprint, format=ref.format, name=ref.name or "data")
            is_plain = ref.sequences is None
            guesses = rows.token_guesses if is_plain else guess_turns(rows.rows, sequences=ref.sequences or 1)
            parts.append(tokens_from_guesses(guesses, max_length=limit, sample=text_sample(rows.rows)))
        train, validation = parts
        assert train is not None
        return plan.replace(estimate=estimate(plan, facts, train, validation=validation))
    except FtsdkError as error:
        if spec.budget_usd is not None:
            _log.warning(
                "run %s is put back without an estimate (%s), so wait() can't hold it to budget_usd=%s; watch what it "
                "costs at the provider",
                run_id,
                error,
                spec.budget_usd,
            )
        return plan
