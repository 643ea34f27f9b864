"""A small HTTP server for this machine, whose clients can't hold it up: of the standard library, a thread for each."""

from __future__ import annotations

import io
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

__all__ = ["BoundedHandler", "BoundedServer", "is_loopback_name", "name_in_host"]


class BoundedServer(ThreadingHTTPServer):
    """Takes so many connections at once; those beyond are closed.

    Args:
        address: Host and port to listen on; port 0 takes a free one.
        handler: What answers.
    """

    daemon_threads = True
    request_queue_size = 256
    most_connections = 256
    request_s = 60.0
    """How long a request may take to arrive, with its body, and a client not read what it is sent, in seconds."""

    def __init__(self, address: tuple[str, int], handler: type[BoundedHandler]) -> None:
        self._places = threading.BoundedSemaphore(self.most_connections)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there is a place."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and free the place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep the terminal clean of clients that hang up; other errors are shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class BoundedHandler(BaseHTTPRequestHandler):
    """Reads a request within the time that its server allows."""

    server: BoundedServer  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version = "ftsdk"
    sys_version = ""

    def setup(self) -> None:
        """Read with a deadline."""
        super().setup()
        self.connection.settimeout(self.server.request_s)  # of one read or write
        self._incoming = _Incoming(self.connection, self.server.request_s)
        self.rfile = io.BufferedReader(self._incoming)

    def handle_one_request(self) -> None:
        """Answer a request whose time begins now."""
        self._incoming.until = time.monotonic() + self.server.request_s
        super().handle_one_request()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        """Write no line for each request."""


class _Incoming(io.RawIOBase):
    """What a client sends, until a deadline: a timeout of the socket alone begins anew with each byte."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self.until = time.monotonic() + timeout_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self.until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the request didn't come in time")
        self._connection.settimeout(min(left_s, self._timeout_s))
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._timeout_s)


def name_in_host(host: str) -> str:
    """Return the name in a header `Host`, without its port; empty if there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback_name(name: str) -> bool:
    """Return whether a name is of this machine alone.

    A page elsewhere can give its own name our address (DNS rebinding), and then `Host` has that name.
    """
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
