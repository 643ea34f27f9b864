"""SkyPilot's API server on loopback: managed jobs over its REST API, whose machines are processes of this one.

It answers as SkyPilot 0.14.1 did (seen on its own server, 2026-11-28; `tests/e2e/test_skypilot.py` asks one): a request
id in a header, results under `/api/get` as JSON in JSON, failures with status 500 and a pickle beside the text; a
second job of a name is taken in without a word.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["SkyPilotStandIn"]

_ENDED = ("SUCCEEDED", "CANCELLED", "FAILED", "FAILED_SETUP", "FAILED_NO_RESOURCE", "FAILED_CONTROLLER")
_PICKLE = "gASVDAAAAAAAAACMBm5ldmVylC4="


@dataclass
class _Job:
    id: int
    task: dict[str, Any]
    status: str = "PENDING"
    reason: str = ""
    recoveries: int = 0
    is_told: bool = False
    process: subprocess.Popen[bytes] | None = None
    said: list[bytes] = field(default_factory=list)
    thread: threading.Thread | None = None

    def to_row(self) -> dict[str, Any]:
        return {
            "_job_id": self.id,
            "job_id": self.id,
            "task_id": 0,
            "job_name": self.task["name"],
            "task_name": self.task["name"],
            "status": self.status,
            "schedule_state": "ALIVE",
            "recovery_count": self.recoveries,
            "failure_reason": self.reason or None,
            "details": None,
            "current_cluster_name": f"{self.task['name']}-{self.id}",
        }


class SkyPilotStandIn:
    """Serves while the block runs."""

    def __init__(self) -> None:
        self.jobs: list[_Job] = []
        self.requests: list[str] = []
        self.bodies: list[tuple[str, Any]] = []
        self.results: dict[str, tuple[int, dict[str, Any]]] = {}
        self.active: list[dict[str, Any]] = []
        """Requests that the server still works on, as `/api/status` shows them."""
        self.clusters: list[str] = []
        """Machines beside those of jobs at work."""
        self.answer: tuple[int, bytes, dict[str, str]] | None = None
        """What every request gets."""
        self.loses_answers = self.is_slow = self.has_no_controller = self.ignores_cancel = False
        self.no_resource = ""
        """Why no machine can be had."""
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> SkyPilotStandIn:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.reset()
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        """Leave no job behind."""
        for job in self.jobs:
            job.is_told = True
            _kill(job)
        for job in self.jobs:
            if job.thread is not None:
                job.thread.join(timeout=30)
        for kept in (self.jobs, self.requests, self.bodies, self.active, self.clusters):
            kept.clear()
        self.results.clear()
        self.answer, self.no_resource = None, ""
        self.loses_answers = self.is_slow = self.has_no_controller = self.ignores_cancel = False

    def preempt(self, run_id: str) -> None:
        """Take a job's machine away."""
        _kill(self.of_run(run_id)[-1])

    def of_run(self, run_id: str) -> list[_Job]:
        """The jobs of a run, oldest first."""
        return [job for job in self.jobs if job.task["name"] == f"ftsdk-{run_id}"]

    @contextlib.contextmanager
    def losing_answers(self) -> Generator[None]:
        """Take a job in without saying so, and be gone afterwards."""
        self.loses_answers = True
        try:
            yield
        finally:
            self.loses_answers, self.answer = False, None

    def let_in(self) -> None:
        """Hand over the launches that the server is slow with."""
        with self._lock:
            self.is_slow = False
            for request in list(self.active):
                self._launch(request["request_id"], json.loads(request["request_body"]))
            self.active.clear()

    def handle(self, method: str, target: str, body: Any) -> tuple[int, object, str]:
        """Answer a request: the status, the content, and the id of the request that it began, or none."""
        parts = urlsplit(target)
        with self._lock:
            self.requests.append(f"{method} {parts.path}")
            self.bodies.append((parts.path, body))
            match parts.path:
                case "/api/health":
                    return 200, {"status": "healthy", "api_version": "62", "version": "0.14.1"}, ""
                case "/api/status":
                    return 200, list(self.active), ""
                case "/api/get":
                    return *self._result(parse_qs(parts.query)["request_id"][0]), ""
                case "/jobs/launch" | "/jobs/queue/v2" | "/jobs/cancel" | "/status" | "/api/cancel" | "/enabled_clouds":
                    request_id = str(uuid.uuid4())
                    self._begin(parts.path, request_id, body or {})
                    return 200, None, request_id
                case _:
                    return 404, {"detail": "Not Found"}, ""

    def _begin(self, path: str, request_id: str, body: dict[str, Any]) -> None:
        match path:
            case "/jobs/launch" if self.is_slow:
                self.active.append(
                    {
                        "request_id": request_id,
                        "name": "sky.jobs.launch",
                        "status": "RUNNING",
                        "request_body": json.dumps(body),
                    }
                )
            case "/jobs/launch":
                self._launch(request_id, body)
            case "/jobs/queue/v2" if self.has_no_controller and not body["refresh"]:
                self._fail(request_id, "ClusterNotUpError", "No in-progress managed jobs.")
            case "/jobs/queue/v2":
                rows = [job.to_row() for job in reversed(self.jobs) if body["name_match"] in job.task["name"]]
                self._finish(request_id, {"jobs": rows, "total": len(rows), "total_no_filter": len(rows)})
            case "/jobs/cancel":
                for job in self.jobs:
                    if job.id in body["job_ids"] and job.status not in _ENDED and not self.ignores_cancel:
                        job.is_told, job.status = True, "CANCELLING" if job.thread else "CANCELLED"
                self._finish(request_id, None)
            case "/api/cancel":
                self.active[:] = [one for one in self.active if one["request_id"] not in body["request_ids"]]
                self._finish(request_id, body["request_ids"])
            case "/status":
                names = [j.to_row()["current_cluster_name"] for j in self.jobs if j.status not in _ENDED]
                self._finish(request_id, [{"name": name, "status": "UP"} for name in [*names, *self.clusters]])
            case _:
                self._finish(request_id, ["runpod", "lambda"])

    def _launch(self, request_id: str, body: dict[str, Any]) -> None:
        task = json.loads(body["task"])
        if self.no_resource.startswith("!"):
            # The real one leaves the job in its queue, too, when it fails half-way.
            self.jobs.append(_Job(len(self.jobs) + 1, {**task, "name": body["name"]}, thread=None))
            self._fail(request_id, "ValueError", f"\x1b[31m{self.no_resource[1:]}\x1b[0m")
            return
        job = _Job(len(self.jobs) + 1, {**task, "name": body["name"]})
        self.jobs.append(job)
        job.thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        job.thread.start()
        self._finish(request_id, {"job_id": [job.id], "handle": _PICKLE})

    def _finish(self, request_id: str, value: object) -> None:
        payload = {"request_id": request_id, "status": "SUCCEEDED", "return_value": json.dumps(value), "error": "null"}
        self.results[request_id] = 200, {**payload, "entrypoint": _PICKLE, "request_body": _PICKLE}

    def _fail(self, request_id: str, kind: str, message: str) -> None:
        error = json.dumps({"object": _PICKLE, "type": kind, "message": message})
        detail = {"request_id": request_id, "status": "FAILED", "return_value": "null", "error": error}
        self.results[request_id] = 500, {"detail": detail}

    def _result(self, request_id: str) -> tuple[int, object]:
        if any(one["request_id"] == request_id for one in self.active):
            return -1, None  # no answer while it works
        return self.results.get(request_id, (404, {"detail": f"Request {request_id!r} not found"}))

    def _run(self, job: _Job) -> None:
        """What the jobs controller does."""
        job.status = "STARTING"
        if self.no_resource:
            job.status, job.reason = "FAILED_NO_RESOURCE", self.no_resource
            return
        environment = {
            **os.environ,
            **job.task["envs"],
            **job.task.get("secrets", {}),
            "SKYPILOT_TASK_ID": f"sky-{job.id}",
        }
        while not job.is_told:
            job.process = subprocess.Popen(
                ["bash", "-c", f"{job.task['setup']} || exit 90\n{job.task['run']}"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            job.status = "RUNNING"
            threading.Thread(target=_read, args=(job.process, job.said), daemon=True).start()
            while job.process.poll() is None and not job.is_told:
                time.sleep(0.03)
            if job.is_told:
                break
            code = job.process.returncode
            if code == -signal.SIGKILL:
                job.status, job.recoveries = "RECOVERING", job.recoveries + 1
                continue
            job.reason = "" if code == 0 else f"exit code {code}"
            job.status = "SUCCEEDED" if code == 0 else "FAILED_SETUP" if code == 90 else "FAILED"
            return
        _kill(job)
        job.status = "CANCELLED"


def _read(process: subprocess.Popen[bytes], said: list[bytes]) -> None:
    assert process.stdout is not None
    said.extend(process.stdout)
    process.stdout.close()


def _kill(job: _Job) -> None:
    """Kill all that runs on a machine: the worker has a session of its own, and dies with its parent."""
    if job.process is not None and job.process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.process.pid, signal.SIGKILL)
        job.process.wait()


def _handler(service: SkyPilotStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if service.answer is not None:
                self._send(*service.answer)
                return
            status, content, request_id = service.handle(self.command, self.path, json.loads(body) if body else None)
            while status == -1:
                time.sleep(0.02)
                status, content, request_id = service.handle(self.command, self.path, None)
            if service.loses_answers and self.path == "/jobs/launch":
                self.close_connection = True
                service.answer = (503, b"", {})
                return
            headers = {"X-Skypilot-Request-ID": request_id} if request_id else {}
            self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})

        do_GET = do_POST = _answer  # noqa: N815 - http.server's names

        def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
            del format, args

    return Handler
