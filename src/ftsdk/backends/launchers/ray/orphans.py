"""Orphans: jobs without a run, and runs without a job. Pure: nothing is stopped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ftsdk.backends.launchers.ray.jobs import Job
from ftsdk.protocol import TERMINAL, Orphan

__all__ = ["orphans"]


def orphans(jobs: Iterable[Job], states: Mapping[str, str], *, address: str) -> list[Orphan]:
    """Compare the live jobs of a cluster with the runs of a ledger.

    Args:
        jobs: Those that ftsdk has submitted there.
        states: The last known state of each run, by the run's id.
        address: The cluster's, for advice.
    """
    alive = [job for job in jobs if job.is_alive]
    found: list[Orphan] = []
    for job in alive:
        stop = f"ray job stop --address {address} {job.id}"
        if job.run_id not in states:
            advice = f"no run in this ledger has it; it may belong to a colleague or another machine. If not: {stop}"
            found.append(Orphan(kind="app", native=job.id, name=job.id, advice=advice))
        elif states[job.run_id] in TERMINAL:
            advice = f"run {job.run_id} is {states[job.run_id]}; its job ends by itself in a moment, or: {stop}"
            found.append(Orphan(kind="app", run_id=job.run_id, native=job.id, name=job.id, advice=advice))
    at_work = {job.run_id for job in alive}
    for run_id, state in sorted(states.items()):
        if state not in TERMINAL and run_id not in at_work:
            advice = (
                f"the run is stalled, or belongs to another cluster: resume it with `ftsdk watch ray:{run_id}`, or end "
                f"it with `ftsdk cancel ray:{run_id}`"
            )
            found.append(Orphan(kind="run", run_id=run_id, name=run_id, advice=advice))
    return found
