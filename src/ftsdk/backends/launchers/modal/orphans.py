"""What lies about: apps without a record, records without an app. Decided here; whoever asks may stop what is surely nobody's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ftsdk.backends.launchers.modal.apps import AppSeen
from ftsdk.backends.launchers.modal.record import app_name, is_app_of_ours
from ftsdk.protocol import TERMINAL, Orphan

__all__ = ["orphans"]


def orphans(apps: Iterable[AppSeen], states: Mapping[str, str]) -> list[Orphan]:
    """Compare the live apps with the runs of a ledger.

    Args:
        apps: Those of the environment that aren't stopped.
        states: State of each run when last asked, by the run's id.

    Returns:
        What has no counterpart, and what to do about it.
    """
    names = {app_name(run_id): run_id for run_id in states}
    ours = [app for app in apps if is_app_of_ours(app.name)]
    found: list[Orphan] = []
    for app in ours:
        run_id = names.get(app.name)
        if run_id is None:
            advice = f"no run in this ledger has it: a colleague's, or of another machine. If it is nobody's: modal app stop {app.app_id}"
            found.append(Orphan(kind="app", native=app.app_id, name=app.name, advice=advice))
        elif states[run_id] in TERMINAL:
            advice = f"run {run_id} is {states[run_id]}; its app goes down by itself in a moment, or: modal app stop {app.app_id}"
            found.append(Orphan(kind="app", run_id=run_id, native=app.app_id, name=app.name, advice=advice))
    live = {app.name for app in ours}
    for name, run_id in sorted(names.items()):
        if states[run_id] not in TERMINAL and name not in live:
            advice = f"it stands still: go on with `ftsdk watch modal:{run_id}`, or end it with `ftsdk cancel modal:{run_id}`"
            found.append(Orphan(kind="run", run_id=run_id, name=name, advice=advice))
    return found
