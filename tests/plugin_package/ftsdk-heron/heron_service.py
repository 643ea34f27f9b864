"""Heron itself, on loopback: files by hash, jobs that move on each time somebody looks, and faults on demand."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from ftsdk.testing.together import pack, small_adapter

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "heron-key-0123456789"
ENDINGS = {"succeeds": ["landed"], "fails": ["drowned"], "unknown_state": ["preening", "landed"]}
STATUS = {"401": 401, "404": 404, "429": 429, "503": 503}


class HeronService(ThreadingHTTPServer):
    """The service."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.jobs: list[dict[str, Any]] = []
        self.files: set[str] = set()
        self.requests = 0
        self.scenario = "succeeds"
        self.moves = True
        self.fault: str | None = None
        self.released = threading.Event()

    @contextmanager
    def failing(self, fault: str) -> Iterator[None]:
        """Answer every request with a fault; `"lost"` creates a job, closes the connection and doesn't list it."""
        self.fault, self.released = fault, threading.Event()
        try:
            yield
        finally:
            self.fault = None
            self.released.set()

    def answer(self, method: str, path: str, body: bytes) -> Any:
        """Return the answer, as JSON or as bytes; None if there is no such thing."""
        match method, path.strip("/").split("/"):
            case "GET", ["files", sha]:
                return {"is_there": sha in self.files}
            case "PUT", ["files", sha]:
                self.files.add(sha)
                return {}
            case "POST", ["price"]:
                return {"usd": f"{1.5 * json.loads(body)['epochs']:.2f}"}
            case "POST", ["jobs"]:
                words = ["fishing", "fishing", *ENDINGS[self.scenario]]
                job = {
                    **json.loads(body),
                    "id": f"job-{len(self.jobs)}",
                    "word": "waiting",
                    "at": time.time(),
                    "ahead": words,
                    "events": [],
                }
                self.jobs.append(job)
                return job
            case "GET", ["jobs"]:
                return {"jobs": self.jobs}
            case _, ["jobs", job_id, *rest]:
                job = next((job for job in self.jobs if job["id"] == job_id), None)
                return None if job is None else self._answer_job(job, rest)
            case _:
                return None

    def _answer_job(self, job: dict[str, Any], rest: list[str]) -> Any:
        match rest:
            case ["events"]:
                return {"events": job["events"]}
            case ["cancel"]:
                job.update(word="stopping", ahead=["stopped"])
            case ["weights"]:
                return pack(small_adapter(base=job["model"], rank=job["rank"]), compression="gz")[0]
            case _ if job["ahead"] and self.moves:
                job.update(word=job["ahead"].pop(0), at=time.time())
                step = len(job["events"]) + 1
                event = {"id": f"{job['id']}-{step}", "at": job["at"]}
                if job["word"] == "fishing":
                    job["events"].append({**event, "kind": "step", "step": step, "loss": 1 / step})
                elif job["word"] == "drowned":
                    job["events"].append({**event, "kind": "log", "level": "error", "message": "the loss became NaN"})
            case _:
                pass
        return job


class _Handler(BaseHTTPRequestHandler):
    server: HeronService  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        server = self.server
        server.requests += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = server.fault
        if fault == "timeout":
            server.released.wait(30)
            return
        is_create = self.command == "POST" and self.path == "/jobs"
        if fault == "lost" and is_create:
            server.answer(self.command, self.path, body)
            return
        if fault == "lost" and server.jobs:
            fault = "503"
        if self.headers["Authorization"] != f"Bearer {KEY}":
            fault = "401"
        answer = (
            b"<html>"
            if fault == "garbage"
            else server.answer(self.command, self.path, body)
            if fault in (None, "lost")
            else {}
        )
        self.send_response(STATUS.get(fault or "", 404 if answer is None else 200))
        if fault == "429":
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    do_POST = do_PUT = do_GET  # noqa: N815 - the names are the standard library's

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        pass
