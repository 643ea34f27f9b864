"""Nodes of a Ray cluster, for the driver: a placement group, and a task in each of its bundles.

Only this file uses Ray's core. It is loaded on the cluster, by a job.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from ftsdk.backends.hosted.ranks import Cluster
from ftsdk.backends.launchers.kept.node import NodesLost, work_on_node
from ftsdk.backends.launchers.ray.resources import NodeResources

__all__ = ["RayNodes"]

_MEET_S = 120.0


class RayNodes:
    """The cluster that the job runs in."""

    def __init__(self) -> None:
        self._ray: Any = import_module("ray")
        # The job's own address is in the environment.
        self._ray.init(log_to_driver=True)

    def reserve(self, bundle: Mapping[str, float], count: int) -> _Group:
        """Ask for a bundle on each of several nodes."""
        return _Group(self._ray, bundle, count)

    def resources(self) -> list[NodeResources]:
        """Return what the live nodes have."""
        nodes: list[dict[str, Any]] = self._ray.nodes()
        return [NodeResources(str(n["NodeName"]), dict(n["Resources"])) for n in nodes if n["Alive"]]


class _Group:
    def __init__(self, ray: Any, bundle: Mapping[str, float], count: int) -> None:
        self._ray = ray
        self._bundle, self._count = dict(bundle), count
        self._util: Any = import_module("ray.util.placement_group")
        strategies: Any = import_module("ray.util.scheduling_strategies")
        self._strategy: Any = strategies.PlacementGroupSchedulingStrategy
        spread = "STRICT_SPREAD" if count > 1 else "PACK"
        self._group: Any = self._util.placement_group([self._bundle] * count, strategy=spread)
        self._tasks: list[Any] = []
        self._ends: dict[int, dict[str, Any]] = {}

    def is_ready(self, *, timeout_s: float) -> bool:
        """Return whether all bundles are placed."""
        return bool(self._group.wait(timeout_seconds=timeout_s))

    def clusters(self, *, attempt: str) -> list[Cluster]:
        """Return the nodes. The first one is asked for its address and a free port.

        Raises:
            NodesLost: It is gone.
        """
        if self._count == 1:
            return [Cluster(attempt=attempt)]
        asked = self._on(0, _address_and_port, {"num_cpus": 0}).remote()
        try:
            address, port = self._ray.get(asked, timeout=_MEET_S)
        except self._ray.exceptions.RayError as error:
            raise NodesLost(f"the first node is gone ({type(error).__name__})") from error
        first = Cluster(nodes=self._count, address=address, port=port, attempt=attempt)
        return [replace(first, rank=rank) for rank in range(self._count)]

    def start(self, orders: Sequence[Mapping[str, Any]]) -> None:
        """Start a task in each bundle. Ray doesn't retry it: a new attempt is decided by the driver."""
        others = {k: v for k, v in self._bundle.items() if k not in ("CPU", "GPU", "memory")}
        takes: dict[str, Any] = {"num_cpus": self._bundle.get("CPU", 0), "num_gpus": self._bundle.get("GPU", 0)}
        takes |= {"resources": others} if others else {}
        takes |= {"memory": self._bundle["memory"]} if "memory" in self._bundle else {}
        self._tasks = [self._on(rank, work_on_node, takes).remote(order) for rank, order in enumerate(orders)]

    def ended(self, *, timeout_s: float) -> list[dict[str, Any] | None]:
        """Return what the tasks have returned. One whose node or process is gone has the status 1."""
        pending = [task for rank, task in enumerate(self._tasks) if rank not in self._ends]
        done, _ = self._ray.wait(pending, num_returns=1, timeout=timeout_s)
        for task in done:
            rank = self._tasks.index(task)
            try:
                self._ends[rank] = self._ray.get(task)
            except self._ray.exceptions.RayError as error:
                said = str(error).strip().splitlines()
                self._ends[rank] = {"status": 1, "said": f"{type(error).__name__}: {said[-1] if said else ''}"[:500]}
        return [self._ends.get(rank) for rank in range(len(self._tasks))]

    def release(self) -> None:
        """Kill what still runs in the bundles, and give them back."""
        for rank, task in enumerate(self._tasks):
            if rank not in self._ends:
                self._ray.cancel(task, force=True)
        self._util.remove_placement_group(self._group)

    def _on(self, rank: int, function: Any, takes: Mapping[str, Any]) -> Any:
        where = self._strategy(placement_group=self._group, placement_group_bundle_index=rank)
        # A new process each time: what a run has left in one isn't the next one's.
        remote = self._ray.remote(max_retries=0, max_calls=1)(function)
        return remote.options(scheduling_strategy=where, **takes)


def _address_and_port() -> tuple[str, int]:
    util: Any = import_module("ray.util")
    address = str(util.get_node_ip_address())
    with socket.socket() as listener:
        listener.bind((address, 0))
        return address, int(listener.getsockname()[1])
