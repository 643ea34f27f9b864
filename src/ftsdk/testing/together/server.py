"""The HTTP server: reads a request, applies a fault or lets the service answer, and writes the answer."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from ftsdk.testing.together.answers import Answer, Refusal, Request
from ftsdk.testing.together.faults import ArmedFault, ArmedFaults

__all__ = ["Counter", "LoopbackServer"]

_GARBAGE = Answer(
    body=b"<!doctype html><title>Just a moment</title><p>We'll be right back.</p>", content_type="text/html"
)
_AFTER = ("late", "closed_after", "500_after", "garbage_after", "truncated")


class Counter(Protocol):
    """Answers requests and records them."""

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request."""
        ...

    def record(self, request: Request, *, fault: str, status: int | None) -> None:
        """Record a request."""
        ...


class LoopbackServer(ThreadingHTTPServer):
    """A server on a free port of 127.0.0.1, in a thread of its own.

    `close` leaves neither threads nor sockets behind.
    """

    # Threads are waited for when it closes, which is quick: their sockets are shut first.
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, counter: Counter, faults: ArmedFaults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.counter = counter
        self.faults = faults
        self.is_closing = threading.Event()
        self.bugs: list[str] = []
        """Tracebacks of what should never happen here."""
        self.open_sockets: set[socket.socket] = set()
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, name="together-service", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait until everything has stopped."""
        self.is_closing.set()
        self.shutdown()
        for each in tuple(self.open_sockets):
            _shut(each)
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the names are the standard library's
        """Keep what went wrong, unless it is only that the client has gone."""
        if not isinstance(sys.exception(), ConnectionError):
            self.bugs.append(traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece; waiting for more to send would cost 40 ms each time.
    disable_nagle_algorithm = True
    wbufsize = -1

    @property
    def owner(self) -> LoopbackServer:
        """The server."""
        return cast("LoopbackServer", self.server)

    def setup(self) -> None:
        super().setup()
        self.owner.open_sockets.add(self.connection)

    def finish(self) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            super().finish()
        self.owner.open_sockets.discard(self.connection)

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        head = Request(
            method=self.command,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        armed = self.owner.faults.pick(f"{head.method} {head.path}")
        length = int(head.headers.get("content-length", 0))
        if armed is not None and armed.fault.kind == "half_upload":
            self.rfile.read(int(length * armed.fault.at))
            self._finish_without(head, armed)
            return
        body = self.rfile.read(length)
        if len(body) < length:
            self._hang_up()
            return
        request = Request(method=head.method, path=head.path, query=head.query, headers=head.headers, body=body)
        if armed is None:
            self._send(self._recorded(request, self._work(request), fault=""))
        elif armed.fault.kind in _AFTER:
            self._strike_after(request, armed)
        elif armed.fault.kind == "closed":
            self._finish_without(request, armed)
        else:
            self._send(self._recorded(request, _struck_answer(armed, request), fault=armed.fault.kind))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names are the standard library's

    def _work(self, request: Request) -> Answer:
        try:
            return self.owner.counter.answer(request)
        except Refusal as refusal:
            return refusal.answer()
        except Exception as error:  # noqa: BLE001 - a bug of the service must be seen by the test, and not as a bug of the client
            self.owner.bugs.append(traceback.format_exc())
            return Refusal(500, f"bug in the stand-in: {error!r}").answer()

    def _recorded(self, request: Request, answer: Answer, *, fault: str) -> Answer:
        # Recorded before it is sent: a client that has the answer may read the records at once.
        self.owner.counter.record(request, fault=fault, status=answer.status)
        return answer

    def _finish_without(self, request: Request, armed: ArmedFault) -> None:
        self.owner.counter.record(request, fault=armed.fault.kind, status=None)
        self._hang_up()

    def _strike_after(self, request: Request, armed: ArmedFault) -> None:
        """Do what is requested, then spoil the answer."""
        answer = self._work(request)
        kind = armed.fault.kind
        if kind == "closed_after":
            self._finish_without(request, armed)
        elif kind == "500_after":
            self._send(self._recorded(request, Refusal(500, "something went wrong").answer(), fault=kind))
        elif kind == "garbage_after":
            self._send(self._recorded(request, _GARBAGE, fault=kind))
        elif kind == "late":
            self._recorded(request, answer, fault=kind)
            self._wait(armed)
            self._send(answer)
        elif len(answer.body) < max(armed.fault.min_bytes, 1):
            armed.give_back()
            self._send(self._recorded(request, answer, fault=""))
        else:
            self._send(self._recorded(request, answer, fault=kind), share=armed.fault.at)

    def _wait(self, armed: ArmedFault) -> None:
        """Wait for the fault's delay, or until it is switched off or the service closes."""
        left = armed.fault.delay_s
        while left > 0 and not armed.is_off.is_set() and not self.owner.is_closing.wait(min(left, 0.02)):
            left -= 0.02

    def _send(self, answer: Answer, *, share: float | None = None) -> None:
        self.send_response(answer.status)
        if answer.body:
            self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body if share is None else answer.body[: int(len(answer.body) * share)])
        self.wfile.flush()
        if share is not None:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        _shut(self.connection)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        """Log nothing."""

    def version_string(self) -> str:
        """Return the server's name."""
        return "together-stand-in"


def _struck_answer(armed: ArmedFault, request: Request) -> Answer:
    kind = armed.fault.kind
    if kind == "garbage":
        return _GARBAGE
    status = int(kind)
    # Whoever repeats this message must take the key out of it.
    key = request.headers.get("authorization", "").removeprefix("Bearer ")
    refused = Refusal(status, f"the service answers {status} to key {key}").answer()
    if status != 429:
        return refused
    after = armed.fault.retry_after_s
    return Answer(
        status=status, body=refused.body, headers={"Retry-After": str(int(after) if after == int(after) else after)}
    )


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
