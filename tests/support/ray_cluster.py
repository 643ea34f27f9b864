"""A real Ray cluster on this machine, for the tests of a session: a head without cores and two nodes, on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["RayCluster", "why_no_ray"]

_NODES = ("127.0.0.3", "127.0.0.4")
_CPUS = 4
_STORE_BYTES = 80 * 2**20


def why_no_ray() -> str:
    """Why no cluster can be started here; empty if one can."""
    if not sys.platform.startswith("linux"):
        return "the tests' nodes need Linux's loopback addresses"
    return "" if find_spec("ray") and find_spec("aiohttp_cors") else "the extra 'ray' isn't installed"


class RayCluster:
    """Starts when the block begins, and is gone when it ends; `address` is its dashboard."""

    def __init__(self, environment: dict[str, str] | None = None, *, port: int | None = None) -> None:
        # Short: a socket's path has at most 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="fr-"))
        here = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "GLOO_SOCKET_IFNAME": "lo",
            "RAY_TMPDIR": str(self.folder),
            # Its processes print to the terminal of the tests otherwise, and warn about this machine.
            "RAY_DISABLE_IMPORT_WARNING": "1",
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_enable_metrics_collection": "0",
        }
        self._environment = {**(environment or {}), **here}
        self._cluster: Any = None
        self._nodes: dict[str, Any] = {}
        self.port = port or _free_port()
        self.address = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> RayCluster:
        before = dict(os.environ)
        # The cluster's processes keep the environment in which they start, and its Python is this one.
        os.environ.update(self._environment)
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        try:
            cluster: Any = import_module("ray.cluster_utils").Cluster
            head = {"include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": self.port}
            # Not 127.0.0.1, which Ray replaces by the machine's other address.
            self._cluster = cluster(
                initialize_head=True,
                connect=False,
                head_node_args={**head, "node_ip_address": "127.0.0.2", **_small(0)},
            )
            self.head = self._cluster.head_node
            for ip in _NODES:
                self.start_node(ip)
            self._wait_for_jobs()
        except BaseException:
            self.__exit__()
            raise
        finally:
            for name in set(os.environ) - set(before):
                del os.environ[name]
            os.environ.update(before)
        return self

    def __exit__(self, *_: object) -> None:
        if self._cluster is not None:
            children = _descendants(os.getpid(), str(self.folder))
            with contextlib.suppress(Exception):
                self._cluster.shutdown()
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_node(self, ip: str) -> None:
        """Start a node with four cores."""
        with _environment(self._environment):
            self._nodes[ip] = self._cluster.add_node(node_ip_address=ip, wait=True, **_small(_CPUS))

    def kill_node(self, ip: str) -> None:
        """Kill a node, with whatever runs there, as when a machine goes down."""
        below = [pid for pid, _ in _processes() if _is_below(pid, self._raylet(ip))]
        self._cluster.remove_node(self._nodes.pop(ip), allow_graceful=False)
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_busy_node(self) -> None:
        """Kill the node that trains, and start another one in its place."""
        busy = [ip for ip in self._nodes if any(_is_below(pid, self._raylet(ip)) for pid in self.workers())]
        assert busy, "no node trains"
        self.kill_node(busy[0])
        self.revive()

    def revive(self) -> None:
        """Start the nodes that were killed."""
        for ip in _NODES:
            if ip not in self._nodes:
                self.start_node(ip)

    def jobs(self, run_id: str | None = None) -> list[Any]:
        """The jobs that ftsdk has submitted, of one run or of all."""
        from ftsdk.backends.launchers.ray.jobs import Jobs

        return [job for job in Jobs(self.address).ours() if run_id in (None, job.run_id)]

    def stop_all(self) -> None:
        """Leave no job behind."""
        from ftsdk.backends.launchers.ray.jobs import Jobs

        jobs = Jobs(self.address)
        alive = [job for job in jobs.ours() if job.is_alive]
        for job in alive:
            jobs.stop(job.id)
        deadline = time.monotonic() + 120
        while any(job.is_alive for job in jobs.ours()) and time.monotonic() < deadline:
            time.sleep(0.3)

    def workers(self) -> list[int]:
        """The processes that train on any node."""
        return [pid for pid, line in _processes() if "ftsdk.backends.hosted" in line and _is_of(pid, self.folder)]

    def _raylet(self, ip: str) -> int:
        return self._nodes[ip].all_processes["raylet"][0].process.pid

    def _wait_for_jobs(self) -> None:
        from ftsdk import BackendError
        from ftsdk.backends.launchers.ray.jobs import Jobs

        deadline = time.monotonic() + 300
        while True:
            try:
                jobs = Jobs(self.address)
                if len(jobs.nodes()) == 1 + len(_NODES):
                    # Its agents are a little later: until then, it takes no jobs.
                    jobs.submit({"entrypoint": "true", "submission_id": "ready"})
                    return
            except BackendError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError("the Ray cluster for tests isn't ready")
            time.sleep(0.3)


@contextlib.contextmanager
def _environment(variables: dict[str, str]):
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _small(cpus: int) -> dict[str, Any]:
    return {"num_cpus": cpus, "num_gpus": 0, "object_store_memory": _STORE_BYTES}


def _processes() -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                found.append((int(entry.name), line))
    return found


def _is_of(pid: int, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return f"RAY_TMPDIR={folder}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def _is_below(pid: int, ancestor: int) -> bool:
    """Return whether a process was started by another one, or by one that it started."""
    with contextlib.suppress(OSError, ValueError):
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if pid == ancestor:
                return True
    return False


def _descendants(pid: int, folder: str) -> list[int]:
    """Return the processes of this cluster, by the folder in their environment."""
    return [one for one, _ in _processes() if one != pid and _is_of(one, Path(folder))]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
