"""What one node of a job does: the worker on the first, its share of the ranks on the others.

It runs in one of Ray's own processes, with the worker as a child that dies with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted.background import repeating
from ftsdk.backends.hosted.child_process import worker_child
from ftsdk.backends.hosted.followers import FirstHostMissing, follow
from ftsdk.backends.hosted.ranks import CLUSTER, Cluster
from ftsdk.backends.launchers.kept.mirror import Mirror, Superseded
from ftsdk.backends.launchers.kept.storage import BEAT_S, StoredRun, kept_run
from ftsdk.errors import BackendError

__all__ = ["NodeOrder", "NodesLost", "work_on_node"]

_SYNC_S = 1.0


class NodesLost(RuntimeError):
    """A node was lost before its work began; a new attempt gets others."""


@dataclass(frozen=True, kw_only=True)
class NodeOrder:
    """What a node is told, as JSON."""

    storage: str
    run: str
    job: str
    device: str
    threads: int
    """Threads of each process on a CPU."""
    cluster: Cluster

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, which crosses the cluster."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> NodeOrder:
        """Rebuild it."""
        plain = dict(given)
        return cls(cluster=Cluster(**plain.pop("cluster")), **plain)


def work_on_node(given: Mapping[str, Any]) -> dict[str, Any]:
    """Work on a run until the worker, or this node's ranks, have ended.

    Args:
        given: A `NodeOrder` as plain data.

    Returns:
        `status`: the exit status; `said`: why there is none of a worker.
    """
    order = NodeOrder.from_dict(given)
    run = kept_run(order.storage, order.run)
    try:
        if isinstance(run, StoredRun):
            with _scratch() as scratch:
                mirror = Mirror(run, scratch / order.run, job_id=order.job)
                mirror.fetch()
                return {"status": _work(order, mirror.folder, mirror, run), "said": ""}
        return {"status": _work(order, run.folder, None, None), "said": ""}
    except (Superseded, FirstHostMissing, BackendError) as error:
        return {"status": 1, "said": str(error)}


def _work(order: NodeOrder, folder: Path, mirror: Mirror | None, run: StoredRun | None) -> int:
    os.environ.update(_environment(order))
    if order.cluster.rank > 0:
        reload: Callable[[], None] = _nothing
        if mirror is not None:
            reload = lambda: mirror.fetch_attempt(order.cluster.meeting)  # noqa: E731
        return int(follow(folder, order.cluster, reload=reload)["status"])
    with repeating(run.beat if run else _nothing, every_s=BEAT_S, name="beat"):
        if run is not None:
            run.beat()
        return _run_worker(folder, mirror)


def _run_worker(folder: Path, mirror: Mirror | None) -> int:
    # The run's files are for this user only.
    with worker_child(folder, umask=0o077) as child:
        while True:
            try:
                code = child.wait(timeout=_SYNC_S)
            except subprocess.TimeoutExpired:
                if mirror is not None:
                    _sync(mirror)
            else:
                break
    if mirror is not None:
        mirror.finish()
    return code


def _sync(mirror: Mirror) -> None:
    try:
        mirror.sync()
    except Superseded:
        raise
    except BackendError as error:
        # The worker goes on: what wasn't sent is sent once the store answers again.
        sys.stderr.write(f"{error}\n")


def _environment(order: NodeOrder) -> dict[str, str]:
    variables = {"OMP_NUM_THREADS": str(order.threads)}  # Ray's own is made for one process
    if order.cluster.nodes > 1:
        variables[CLUSTER] = order.cluster.to_json()
    if order.device == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    return variables


@contextlib.contextmanager
def _scratch() -> Generator[Path]:
    # Of a node that is killed, it stays; a pod's disk goes with the pod.
    folder = Path(tempfile.mkdtemp(prefix="ftsdk-node-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _nothing() -> None:
    pass
