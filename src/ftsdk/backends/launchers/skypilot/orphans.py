"""Orphans: jobs and machines without a run, and runs without a job. Pure: nothing is stopped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ftsdk.backends.launchers.skypilot.jobs import Job, name_of
from ftsdk.protocol import TERMINAL, Orphan

__all__ = ["orphans"]


def orphans(jobs: Iterable[Job], clusters: Iterable[str], states: Mapping[str, str]) -> list[Orphan]:
    """Compare what SkyPilot knows with the runs of a ledger.

    Args:
        jobs: The managed jobs that are named as ours are.
        clusters: The names of machines that are there, named as those of our jobs are.
        states: The last known state of each run, by the run's id.
    """
    alive = [job for job in jobs if job.is_alive]
    found: list[Orphan] = []
    for job in alive:
        native = str(job.id if job.id is not None else job.request_id)
        stop = f"sky jobs cancel {job.id}" if job.id is not None else f"sky api cancel {job.request_id}"
        if job.run_id not in states:
            advice = f"no run in this ledger has it; it may belong to a colleague or another machine. If not: {stop}"
            found.append(Orphan(kind="app", native=native, name=job.name, advice=advice))
        elif states[job.run_id] in TERMINAL:
            advice = f"run {job.run_id} is {states[job.run_id]}; its job ends by itself in a moment, or: {stop}"
            found.append(Orphan(kind="app", run_id=job.run_id, native=native, name=job.name, advice=advice))
    working = {job.name for job in alive}
    for cluster in clusters:
        # SkyPilot names a job's machine after the job, with the job's number behind it.
        if not any(cluster == name or cluster.startswith(f"{name}-") for name in working):
            advice = f"no job works on this machine, which is billed until it is gone: sky down {cluster}"
            found.append(Orphan(kind="app", native=cluster, name=cluster, advice=advice))
    for run_id, state in sorted(states.items()):
        if state not in TERMINAL and name_of(run_id) not in working:
            advice = (
                "the run is stalled, or belongs to another API server: resume it with `ftsdk watch "
                f"skypilot:{run_id}`, or end it with `ftsdk cancel skypilot:{run_id}`"
            )
            found.append(Orphan(kind="run", run_id=run_id, name=name_of(run_id), advice=advice))
    return found
