"""Ray's Jobs API on loopback, for Ray's own client. Jobs run the real driver, on nodes that are processes of here.

It answers as a cluster of Ray 2.60 did (see `tests/e2e/test_ray.py`, which runs the same tests on one): a second job of
an id with 500, an unknown one with 404, and after a restart of its head it knows no jobs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ftsdk.backends.hosted.ranks import Cluster
from ftsdk.backends.launchers.ray.driver import drive
from ftsdk.backends.launchers.ray.resources import NodeResources

__all__ = ["RayStandIn"]

_NODE = """\
import json, os, sys
os.setsid()
from ftsdk.backends.launchers.kept.node import work_on_node
print("\\0" + json.dumps(work_on_node(json.loads(sys.argv[1]))), flush=True)
"""
_TWICE = """Request failed with status code 400: Traceback (most recent call last):
ValueError: Job with submission_id {id} already exists. Please use a different submission_id.
."""


@dataclass
class _Job:
    body: dict[str, Any]
    status: str = "PENDING"
    message: str = "Job has not started yet."
    is_told: bool = False
    tasks: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """Of the newest attempt."""
    thread: threading.Thread | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "SUBMISSION",
            "job_id": None,
            "submission_id": self.body["submission_id"],
            "status": self.status,
            "entrypoint": self.body["entrypoint"],
            "message": self.message,
            "metadata": self.body["metadata"],
            "runtime_env": self.body["runtime_env"],
        }


class RayStandIn:
    """Serves while the block runs."""

    def __init__(self) -> None:
        self.jobs: dict[str, _Job] = {}
        self.submitted: list[str] = []
        """The ids of all jobs that were accepted, also of those that were forgotten."""
        self.requests: list[str] = []
        self.nodes = [NodeResources("n1", {"CPU": 4.0}), NodeResources("n2", {"CPU": 4.0})]
        self.is_full = False
        """Whether no node is free."""
        self.answer: tuple[int, bytes, dict[str, str]] | None = None
        """What every request gets."""
        self.loses_answers = False
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> RayStandIn:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.reset()
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        """Leave no job behind."""
        for job in list(self.jobs.values()):
            job.is_told = True
            kill(job.tasks)
        for job in list(self.jobs.values()):
            if job.thread is not None:
                job.thread.join(timeout=30)
        self.jobs.clear()
        self.submitted.clear()
        self.requests.clear()
        self.is_full, self.answer, self.loses_answers = False, None, False
        self.nodes = [NodeResources("n1", {"CPU": 4.0}), NodeResources("n2", {"CPU": 4.0})]

    def of_run(self, run_id: str) -> list[_Job]:
        """The jobs of a run, oldest first."""
        return [job for job in self.jobs.values() if job.body["metadata"]["ftsdk"] == run_id]

    def kill_node(self, run_id: str) -> None:
        """Kill what runs on a node, as when a machine goes down; the driver is on another one."""
        kill(self.of_run(run_id)[-1].tasks[:1])

    def restart_head(self) -> None:
        """Forget all jobs, with all that ran: the nodes lose their head, and the driver was on it."""
        for job in self.jobs.values():
            job.is_told = True
            kill(job.tasks)
        jobs, self.jobs = list(self.jobs.values()), {}
        for job in jobs:
            if job.thread is not None:
                job.thread.join(timeout=30)

    @contextlib.contextmanager
    def losing_answers(self) -> Generator[None]:
        """Accept a job without saying so, and be gone afterwards."""
        self.loses_answers = True
        try:
            yield
        finally:
            self.loses_answers, self.answer = False, None

    def handle(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """Answer a request."""
        with self._lock:
            self.requests.append(f"{method} {path}")
            path = path.partition("?")[0].rstrip("/")
            if path == "/api/version":
                return 200, {"version": "4", "ray_version": "2.60.0", "ray_commit": "", "session_name": ""}
            if path == "/api/v0/nodes":
                rows = [{"node_name": n.name, "state": "ALIVE", "resources_total": dict(n.total)} for n in self.nodes]
                return 200, {"result": True, "msg": "", "data": {"result": {"result": rows}}}
            if path == "/api/jobs":
                return self._submit(json.loads(body)) if method == "POST" else (200, self._list())
            job_id, _, what = path.removeprefix("/api/jobs/").partition("/")
            job = self.jobs.get(job_id)
            if job is None:
                return 404, f"Job {job_id} does not exist."
            if what == "stop":
                was_alive = job.status in ("PENDING", "RUNNING")
                job.is_told = True
                return 200, {"stopped": was_alive}
            return 200, job.to_dict()

    def _list(self) -> list[dict[str, Any]]:
        return [job.to_dict() for job in self.jobs.values()]

    def _submit(self, body: dict[str, Any]) -> tuple[int, object]:
        job_id = body["submission_id"]
        if job_id in self.jobs:
            return 500, _TWICE.format(id=job_id)
        job = self.jobs[job_id] = _Job(body)
        self.submitted.append(job_id)
        job.thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        job.thread.start()
        return 200, {"job_id": job_id, "submission_id": job_id}

    def _run(self, job: _Job) -> None:
        job.status, job.message = "RUNNING", "Job is currently running."
        try:
            storage, run_id, job_id, _ = shlex.split(job.body["entrypoint"])[-4:]
            code = drive(storage, run_id, job_id, _Nodes(self, job), is_told_to_leave=lambda: job.is_told)
            said = f"Job entrypoint command failed with exit code {code}"
        except Exception:  # noqa: BLE001 - what a driver raises ends its job
            code, said = 1, f"Job entrypoint command failed with exit code 1: {traceback.format_exc()}"
        finally:
            kill(job.tasks)
        job.message = "Job finished successfully." if code == 0 else said
        job.status = "STOPPED" if job.is_told else "SUCCEEDED" if code == 0 else "FAILED"


class _Nodes:
    def __init__(self, service: RayStandIn, job: _Job) -> None:
        self._service, self._job = service, job

    def reserve(self, bundle: Mapping[str, float], count: int) -> _Reservation:
        return _Reservation(self._service, self._job, bundle, count)

    def resources(self) -> Sequence[NodeResources]:
        return self._service.nodes


class _Reservation:
    def __init__(self, service: RayStandIn, job: _Job, bundle: Mapping[str, float], count: int) -> None:
        self._service, self._job, self._bundle, self._count = service, job, bundle, count

    def is_ready(self, *, timeout_s: float) -> bool:
        fitting = [n for n in self._service.nodes if all(n.total.get(k, 0) >= v for k, v in self._bundle.items())]
        if len(fitting) >= self._count and not self._service.is_full:
            return True
        time.sleep(min(timeout_s, 0.1))
        return False

    def clusters(self, *, attempt: str) -> list[Cluster]:
        assert self._count == 1, "several nodes are tested on a real cluster"
        return [Cluster(attempt=attempt)]

    def start(self, orders: Sequence[Mapping[str, Any]]) -> None:
        self._job.tasks = [
            subprocess.Popen(
                [sys.executable, "-c", _NODE, json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for order in orders
        ]
        for task in self._job.tasks:
            # Read all of it, or a worker that prints much would wait.
            task.said = []  # type: ignore[attr-defined]
            threading.Thread(target=_read, args=(task,), daemon=True).start()

    def ended(self, *, timeout_s: float) -> list[dict[str, Any] | None]:
        deadline = time.monotonic() + timeout_s
        while all(task.poll() is None for task in self._job.tasks) and time.monotonic() < deadline:
            if self._job.is_told:
                break
            time.sleep(0.02)
        return [_end(task) for task in self._job.tasks]

    def release(self) -> None:
        kill(self._job.tasks)


def _read(task: Any) -> None:
    for line in task.stdout:
        task.said.append(line)
    task.stdout.close()


def _end(task: Any) -> dict[str, Any] | None:
    if task.poll() is None:
        return None
    time.sleep(0.02)
    last = task.said[-1] if task.said else b""
    if last.startswith(b"\0"):
        return json.loads(last[1:])
    said = b"".join(task.said[-5:]).decode(errors="replace")
    return {"status": 1, "said": f"the node is gone ({task.returncode}): {said}"}


def kill(tasks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Kill nodes; the workers on them die with them."""
    for task in tasks:
        if task.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(task.pid, signal.SIGKILL)
            task.wait()


def _handler(service: RayStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if service.answer is not None:
                self._send(*service.answer)
                return
            status, content = service.handle(self.command, self.path, body)
            if service.loses_answers and self.command == "POST" and self.path.rstrip("/") == "/api/jobs":
                self.close_connection = True
                service.answer = (503, b"", {})
                return
            as_text = isinstance(content, str)
            sent = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self._send(status, sent, {"Content-Type": "text/plain" if as_text else "application/json"})

        do_GET = do_POST = _answer  # noqa: N815 - http.server's names

        def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
            del format, args

    return Handler
