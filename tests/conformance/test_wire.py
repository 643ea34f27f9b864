"""The suite's tests of the wire.

A real HTTP client against a real server on loopback, and the bugs that people write there.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ftsdk.errors import BackendError, CredentialsError, RunNotFoundError
from ftsdk.testing import BackendConformance, ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-wire-0123456789"


class Place(ThreadingHTTPServer):
    """A server that says yes to everything, or what `fault` says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.fault = ""
        self.hits = 0
        self.is_closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Place  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.hits += 1
        fault = self.server.fault
        if fault == "timeout":
            self.server.is_closing.wait(30)
            return
        is_authorized = self.headers["Authorization"] == f"Bearer {KEY}"
        status = int(fault) if fault.isdigit() else 200 if is_authorized else 401
        content = b"<html>We'll be right back</html>" if fault == "garbage" else b'{"ok": true}'
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "7")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        pass


class WiredBackend(ScriptedBackend):
    """Asks the server before each request; the key comes from the environment, so `options` needn't hold it."""

    def __init__(self, *, url: str, **options: Any) -> None:
        super().__init__(**options)
        self._url = url
        self.timeout_s = 30.0

    @property
    def options(self):
        return {**super().options, "url": self._url}

    def _send(self, call, **details):
        try:
            self.check(self.ask(call, details))
        except httpx.HTTPError as error:
            raise self.unreachable(error) from error
        return super()._send(call, **details)

    def ask(self, call, details) -> httpx.Response:
        # There is no TLS on loopback: verify=False saves reading the system's certificates for each request.
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.post(
            f"{self._url}/{call}", json=details, headers=headers, timeout=self.timeout_s, trust_env=False, verify=False
        )

    def unreachable(self, error: httpx.HTTPError) -> Exception:
        return BackendError(f"{self.name} can't be reached: {error}", retryable=True)

    def check(self, response: httpx.Response) -> None:
        code = response.status_code
        if code == 401:
            raise CredentialsError(f"{self.name} refused the key; set WIRE_API_KEY")
        if code == 404:
            raise RunNotFoundError(f"{self.name} has no such run")
        if code >= 400:
            wait = response.headers.get("Retry-After")
            raise BackendError(
                f"{self.name} answered {code}",
                retryable=code in (429, 503),
                retry_after_s=float(wait) if wait else None,
                status_code=code,
            )
        self.read(response)

    def read(self, response: httpx.Response) -> None:
        try:
            response.json()
        except ValueError as error:
            raise BackendError(f"{self.name} sent what is no JSON", status_code=response.status_code) from error


@pytest.fixture
def place() -> Iterator[Place]:
    server = Place()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.is_closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Suite(BackendConformance):
    """Holds a backend to the suite; the server is the test's."""

    place: Place
    kind: type[WiredBackend] = WiredBackend

    def make_backend(self, tmp_path: Path) -> WiredBackend:
        return self.kind(url=self.place.url, root=tmp_path / "place")

    def requests_seen(self, backend: Any) -> int:
        return self.place.hits

    def runs_started(self, backend: Any) -> int:
        return len(backend.runs)

    def secrets(self):
        return [KEY]

    def wire_faults(self, backend: Any):
        return {fault: self.failing(backend, fault) for fault in ("401", "404", "429", "503", "timeout", "garbage")}

    @contextmanager
    def failing(self, backend: WiredBackend, fault: str) -> Iterator[None]:
        self.place.fault = fault
        backend.timeout_s = 0.1 if fault == "timeout" else 30.0
        yield
        self.place.fault = ""
        backend.timeout_s = 30.0


class TestWired(Suite):
    """Healthy: passes whole."""

    @pytest.fixture(autouse=True)
    def _place(self, place: Place) -> None:
        self.place = place


class LetsTheClientsErrorsThrough(WiredBackend):
    def check(self, response):
        response.raise_for_status()

    def unreachable(self, error):
        return error


class TakesARefusedKeyForAnOutage(WiredBackend):
    def check(self, response):
        if response.status_code == 401:
            raise BackendError("unauthorized", status_code=401)
        super().check(response)


class TakesAMissingRunForAnOutage(WiredBackend):
    def check(self, response):
        if response.status_code == 404:
            raise BackendError("not found", status_code=404)
        super().check(response)


class ForgetsHowLongToWait(WiredBackend):
    def check(self, response):
        if response.status_code == 429:
            raise BackendError("slow down", retryable=True, status_code=429)
        super().check(response)


class GivesUpAtOnce(WiredBackend):
    def check(self, response):
        if response.status_code == 503:
            raise BackendError("down", status_code=503)
        super().check(response)


class GivesUpOnATimeout(WiredBackend):
    def unreachable(self, error):
        return BackendError("timeout")


class ChokesOnGarbage(WiredBackend):
    def read(self, response):
        assert response.json()["ok"]


class SwallowsGarbage(WiredBackend):
    def read(self, response):
        pass


class TellsTheKey(WiredBackend):
    def check(self, response):
        try:
            super().check(response)
        except CredentialsError as error:
            raise CredentialsError("the key was refused") from ValueError(
                f"{error}; sent {dict(response.request.headers)}"
            )


class CannotBePickled(WiredBackend):
    def check(self, response):
        try:
            super().check(response)
        except BackendError as error:
            error.lock = threading.Lock()  # pyright: ignore[reportAttributeAccessIssue]
            raise


class SubmitsAgainByItself(WiredBackend):
    def submit(self, plan, *, key):
        try:
            return super().submit(plan, key=key)
        except BackendError:
            self._write(
                self._id_for(f"{key}-again"),
                {"key": key, "spec": plan.spec.to_dict(), "request": plan.request, "entries": [], "tick": 0},
            )
            raise

    def _send(self, call, **details):
        self._root.mkdir(exist_ok=True)
        return super()._send(call, **details)


@pytest.mark.parametrize(
    ("kind", "test", "says"),
    [
        (LetsTheClientsErrorsThrough, "test_wire_faults_become_our_errors", "is HTTPStatusError"),
        (LetsTheClientsErrorsThrough, "test_wire_faults_become_our_errors", "is ReadTimeout"),
        (
            TakesARefusedKeyForAnOutage,
            "test_wire_faults_become_our_errors",
            "401 in status: should be a CredentialsError",
        ),
        (
            TakesAMissingRunForAnOutage,
            "test_wire_faults_become_our_errors",
            "404 in events: should be a RunNotFoundError",
        ),
        (ForgetsHowLongToWait, "test_wire_faults_become_our_errors", "retry_after_s should be 7.0"),
        (GivesUpAtOnce, "test_wire_faults_become_our_errors", "503 in submit: should be retryable"),
        (GivesUpOnATimeout, "test_wire_faults_become_our_errors", "timeout in cancel: should be retryable"),
        (
            ChokesOnGarbage,
            "test_wire_faults_become_our_errors",
            "garbage in status: should be a BackendError, is JSONDecodeError",
        ),
        (SwallowsGarbage, "test_wire_faults_become_our_errors", "garbage in status: nothing was raised"),
        (TellsTheKey, "test_wire_faults_become_our_errors", "401 in status: a secret is in the CredentialsError"),
        (CannotBePickled, "test_wire_faults_become_our_errors", "503 in status: can't be pickled"),
        (SubmitsAgainByItself, "test_a_fault_in_submit_does_not_start_a_second_run", "2 runs were started"),
    ],
)
def test_a_bug_on_the_wire_is_found(
    kind: type[WiredBackend], test: str, says: str, place: Place, tmp_path: Path
) -> None:
    suite = Suite()
    suite.place, suite.kind = place, kind
    with pytest.raises(AssertionError) as caught:
        getattr(suite, test)(tmp_path)
    assert says in str(caught.value)
