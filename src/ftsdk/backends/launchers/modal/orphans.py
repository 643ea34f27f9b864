"""Orphans: apps without a run, and runs without an app. Pure: nothing is stopped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ftsdk.backends.launchers.modal.apps import AppInfo
from ftsdk.backends.launchers.modal.record import app_name, is_app_of_ours
from ftsdk.protocol import TERMINAL, Orphan

__all__ = ["orphans"]


def orphans(apps: Iterable[AppInfo], states: Mapping[str, str]) -> list[Orphan]:
    """Compare the live apps with the runs of a ledger.

    Args:
        apps: Those of the environment that aren't stopped.
        states: The last known state of each run, by the run's id.

    Returns:
        The orphans, each with what to do about it.
    """
    names = {app_name(run_id): run_id for run_id in states}
    ours = [app for app in apps if is_app_of_ours(app.name)]
    found: list[Orphan] = []
    for app in ours:
        run_id = names.get(app.name)
        if run_id is None:
            advice = (
                "no run in this ledger has it; it may belong to a colleague or another machine. If not: modal app "
                f"stop {app.app_id}"
            )
            found.append(Orphan(kind="app", native=app.app_id, name=app.name, advice=advice))
        elif states[run_id] in TERMINAL:
            advice = (
                f"run {run_id} is {states[run_id]}; its app stops by itself in a moment, or: modal app stop "
                f"{app.app_id}"
            )
            found.append(Orphan(kind="app", run_id=run_id, native=app.app_id, name=app.name, advice=advice))
    live = {app.name for app in ours}
    for name, run_id in sorted(names.items()):
        if states[run_id] not in TERMINAL and name not in live:
            advice = (
                f"the run is stalled: resume it with `ftsdk watch modal:{run_id}`, or end it with `ftsdk cancel "
                f"modal:{run_id}`"
            )
            found.append(Orphan(kind="run", run_id=run_id, name=name, advice=advice))
    return found
