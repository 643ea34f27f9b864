"""What a Slurm job runs on each of its nodes.

    python -m ftsdk.backends.launchers.slurm.entry RUN_FOLDER

The first node has the worker. The others run their share of the ranks, as the first decides.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted import worker
from ftsdk.backends.hosted.diagnosis import attempts_without_progress, crash_loop
from ftsdk.backends.hosted.followers import FirstHostMissing, follow
from ftsdk.backends.hosted.ranks import CLUSTER, Cluster
from ftsdk.backends.hosted.run_end import record_end_in
from ftsdk.backends.hosted.stop_condition import StopCondition
from ftsdk.backends.launchers.slurm.time_limit import as_time
from ftsdk.protocol import Event, StateEvent, StepEvent
from ftsdk.runfolder.event_log import EVENTS, parse_events

__all__ = ["main", "this_cluster"]

_MAX_ATTEMPTS = 5
_PORTS = range(20_000, 60_000)


def main(argv: list[str] | None = None) -> int:
    """Work on one run folder, as the first node or as another one.

    Returns:
        The worker's exit status, or that of the ranks.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        sys.stderr.write(f"usage: python -m {__spec__.name} RUN_FOLDER\n")
        return 2
    folder = Path(arguments[0]).resolve()
    cluster = this_cluster(os.environ)
    if cluster.rank > 0:
        try:
            return int(follow(folder, cluster, reload=lambda: None)["status"])
        except FirstHostMissing as error:
            sys.stderr.write(f"{error}\n")
            return 1
    path = folder / EVENTS
    events = parse_events(path.read_bytes()) if path.exists() else []
    if _is_hopeless(folder, events):
        return 1
    if events and "SLURM_JOB_ID" in os.environ:
        _keep_budget(folder, events, os.environ["SLURM_JOB_ID"])
    os.environ[CLUSTER] = cluster.to_json()
    return worker.main([str(folder)])


def this_cluster(environment: Mapping[str, str]) -> Cluster:
    """Return which of the job's nodes this one is, according to Slurm."""
    nodes = int(environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_NNODES") or 1)
    if nodes == 1 or "SLURM_NODEID" not in environment:
        return Cluster()
    job = int(environment["SLURM_JOB_ID"])
    return Cluster(
        nodes=nodes,
        rank=int(environment["SLURM_NODEID"]),
        address=_first_host(environment),
        # Jobs can share a node, and the first of the usual ports is everybody's.
        port=_PORTS[job % len(_PORTS)],
        attempt=f"{job}.{environment.get('SLURM_RESTART_COUNT', '0')}",
    )


def _first_host(environment: Mapping[str, str]) -> str:
    """Return the address of the job's first node: its name, as other nodes resolve it."""
    hosts = subprocess.run(
        ["scontrol", "show", "hostnames", environment["SLURM_JOB_NODELIST"]], capture_output=True, text=True, check=True
    ).stdout.split()
    shown = subprocess.run(
        ["scontrol", "--oneliner", "show", "node", hosts[0]], capture_output=True, text=True, check=False
    ).stdout
    addresses = [word.partition("=")[2] for word in shown.split() if word.startswith("NodeAddr=")]
    return addresses[0] if addresses else hosts[0]


def _is_hopeless(folder: Path, events: list[Event]) -> bool:
    """Record that the run has failed if too many attempts in a row made no new checkpoint.

    Slurm starts a requeued job again by itself, with no client that would give it up.
    """
    tries = attempts_without_progress(events)
    if tries < _MAX_ATTEMPTS:
        return False
    steps = [event.step for event in events if isinstance(event, StepEvent)]
    diagnosis = crash_loop(tries, step=steps[-1] if steps else None, log_tail="the job's log")
    record_end_in(folder, StateEvent(state="failed", reason=diagnosis.message, diagnosis=diagnosis._asdict()))
    return True


def _keep_budget(folder: Path, events: list[Event], job: str) -> None:
    """Lower the time limit of a later attempt to what is left of the budget."""
    request: dict[str, Any] = json.loads((folder / worker.REQUEST).read_bytes())
    left_s = StopCondition(folder, request, events).seconds_left()
    time_s = request["launch"].get("time_s")
    if left_s is not None and time_s is not None and left_s < time_s:
        limit = as_time(max(60, int(left_s) // 60 * 60))
        subprocess.run(["scontrol", "update", f"JobId={job}", f"TimeLimit={limit}"], check=False)


if __name__ == "__main__":
    # The run's files are for this user only.
    os.umask(0o077)
    sys.exit(main())
