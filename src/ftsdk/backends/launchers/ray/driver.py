"""What a Ray job runs, on the cluster's head: it reserves the nodes, and starts the run on them, again if one dies.

python -m ftsdk.backends.launchers.ray.driver STORAGE RUN JOB VERSION
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ftsdk.backends.hosted.ranks import Cluster
from ftsdk.backends.hosted.stop_condition import CANCEL, CANCELLED_BY_USER, INTERRUPT
from ftsdk.backends.hosted.worker import REQUEST
from ftsdk.backends.launchers.kept.attempts import make_attempts, read_command, say
from ftsdk.backends.launchers.kept.jobs import WAITING
from ftsdk.backends.launchers.kept.node import NodeOrder, NodesLost
from ftsdk.backends.launchers.kept.storage import KeptRun, kept_run
from ftsdk.backends.launchers.ray.plan_launch import LEAVE_S
from ftsdk.backends.launchers.ray.resources import NodeResources, why_impossible, why_waiting
from ftsdk.protocol import StateEvent

__all__ = ["Nodes", "Reservation", "drive", "main"]

_LOOK_S = 5.0
"""Seconds between two looks at what a run waits for."""
_POLL_S = 1.0
_OTHERS_S = 30.0
"""Seconds that the other nodes have after one has ended."""


class Reservation(Protocol):
    """Nodes that are reserved, or waited for."""

    def is_ready(self, *, timeout_s: float) -> bool:
        """Return whether all of them are there, after waiting for them."""
        ...

    def clusters(self, *, attempt: str) -> Sequence[Cluster]:
        """Return the nodes, as each of them sees itself.

        Raises:
            NodesLost: The first one is gone.
        """
        ...

    def start(self, orders: Sequence[Mapping[str, Any]]) -> None:
        """Start each order on its node."""
        ...

    def ended(self, *, timeout_s: float) -> list[dict[str, Any] | None]:
        """Return what each node has returned, None for those at work, after waiting for one of them to end."""
        ...

    def release(self) -> None:
        """Kill what still runs there, and give the nodes back."""
        ...


class Nodes(Protocol):
    """The cluster, as the driver needs it."""

    def reserve(self, bundle: Mapping[str, float], count: int) -> Reservation:
        """Ask for nodes, each with what a bundle says."""
        ...

    def resources(self) -> Sequence[NodeResources]:
        """Return what the live nodes have."""
        ...


def main(argv: list[str] | None = None) -> int:
    """Drive one job.

    Returns:
        The exit status: 0 if the run is over, or another job has it.
    """
    arguments = sys.argv[1:] if argv is None else argv
    command = read_command(__spec__.name, arguments, place="the cluster", remedy="install that one")
    if command is None:
        return 2
    # Loads Ray, and connects.
    from ftsdk.backends.launchers.ray.placement import RayNodes

    nodes, told = RayNodes(), _Told()
    # Afterwards, since Ray has a handler of its own, which exits.
    signal.signal(signal.SIGTERM, told)
    return drive(*command, nodes, is_told_to_leave=told.is_so)


class _Told:
    """Remembers that Ray asked the job to stop."""

    def __init__(self) -> None:
        self._is_so = False

    def __call__(self, *_: object) -> None:
        self._is_so = True

    def is_so(self) -> bool:
        return self._is_so


def drive(
    storage: str,
    run_id: str,
    job_id: str,
    nodes: Nodes,
    *,
    is_told_to_leave: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Make attempts until the run is over, can't go on, or has to leave the cluster.

    Returns:
        The job's exit status: 0 if the run is over, or another job has it.
    """
    run = kept_run(storage, run_id)
    request: dict[str, Any] = json.loads(run.read(REQUEST) or b"{}")["launch"]
    say(f"job {job_id} of run {run_id}")

    def attempt(name: str) -> bool:
        reservation = nodes.reserve(request["bundle"], request["nodes"])
        try:
            if not _wait_for_nodes(run, request, reservation, nodes, is_told_to_leave):
                return False
            ends = _attempt(storage, run_id, job_id, request, reservation, name, run, is_told_to_leave, clock)
        finally:
            reservation.release()
        for rank, end in enumerate(ends):
            if end is None or end["status"] != 0:
                say(f"node {rank} ended: {'killed' if end is None else end['said'] or end['status']}")
        return True

    return make_attempts(
        run,
        job_id,
        attempt,
        nobody_started="no worker could be started on the nodes; see their lines above",
        is_told_to_leave=is_told_to_leave,
        sleep=sleep,
    )


def _wait_for_nodes(
    run: KeptRun,
    request: Mapping[str, Any],
    reservation: Reservation,
    nodes: Nodes,
    is_told_to_leave: Callable[[], bool],
) -> bool:
    """Wait until all nodes are there. Return False if the run was cancelled, or the job has to leave, before."""
    said = b""
    while not reservation.is_ready(timeout_s=_POLL_S if not said else _LOOK_S):
        if is_told_to_leave():
            return False
        if run.read(CANCEL) is not None:
            run.record_end(StateEvent(state="cancelled", reason=CANCELLED_BY_USER))
            return False
        there = nodes.resources()
        blocked = why_impossible(request["bundle"], request["nodes"], there)
        # A cluster that grows may get nodes that it doesn't have now.
        is_blocked = bool(blocked) and not request["autoscaling"]
        reason = blocked if is_blocked else why_waiting(request["bundle"], request["nodes"])
        content = json.dumps({"reason": reason, "is_blocked": is_blocked}).encode()
        if content != said:
            say(reason)
            run.write(WAITING, content)
            said = content
    run.remove(WAITING)
    return True


def _attempt(
    storage: str,
    run_id: str,
    job_id: str,
    request: Mapping[str, Any],
    reservation: Reservation,
    attempt: str,
    run: KeptRun,
    is_told_to_leave: Callable[[], bool],
    clock: Callable[[], float],
) -> list[dict[str, Any] | None]:
    """Start the run on its nodes, and wait until they have ended."""
    each = max(1, int(request["processes"]) // int(request["nodes"]))
    threads = max(1, int(request["bundle"]["CPU"]) // each)
    try:
        clusters = reservation.clusters(attempt=attempt)
    except NodesLost as error:
        return [{"status": 1, "said": str(error)}]
    reservation.start(
        [
            NodeOrder(
                storage=storage,
                run=run_id,
                job=job_id,
                device=str(request["device"]),
                threads=threads,
                cluster=cluster,
            ).to_dict()
            for cluster in clusters
        ]
    )
    deadline: float | None = None
    while True:
        ends = reservation.ended(timeout_s=_POLL_S)
        if all(end is not None for end in ends):
            return ends
        if is_told_to_leave():
            if run.read(CANCEL) is not None:
                return ends  # it was cancelled already, and whoever stops the job now means at once
            if deadline is None:
                say("the job is stopped: saving a checkpoint")
                run.write(INTERRUPT, b"")
                deadline = clock() + LEAVE_S - 10.0
        elif deadline is None and any(end is not None for end in ends):
            deadline = clock() + _OTHERS_S
        if deadline is not None and clock() >= deadline:
            return ends


if __name__ == "__main__":
    # The run's files are for this user only.
    os.umask(0o077)
    sys.exit(main())
