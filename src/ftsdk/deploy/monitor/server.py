"""Serves the page of a monitor on this machine; it is made anew for each visit, and reloads itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ftsdk.deploy.bounded_server import BoundedHandler, BoundedServer, is_loopback_name, name_in_host
from ftsdk.errors import FtsdkError, SpecError

if TYPE_CHECKING:
    from ftsdk.deploy.monitor.monitor import Monitor

__all__ = ["MonitorServer"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"


class MonitorServer:
    """One page at `/` and its data at `/report.json`, on 127.0.0.1 only."""

    def __init__(self, monitor: Monitor, *, port: int = 0, refresh_s: int = 10) -> None:
        """Take the port; `serve` answers.

        Args:
            monitor: What is shown.
            port: 0 takes a free one.
            refresh_s: Seconds after which the page reloads.

        Raises:
            SpecError: The port is taken.
        """
        lock = threading.Lock()

        def show(path: str) -> tuple[str, str]:
            with lock:  # the monitor reads on where it stopped: one at a time
                report = monitor.report()
            if path == "/report.json":
                return json.dumps(report.to_dict()), "application/json"
            return report.to_html(), "text/html; charset=utf-8"

        class Handler(_Handler):
            shown = staticmethod(show)
            refresh = refresh_s

        try:
            self._server = BoundedServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise SpecError(f"port {port} can't be used: {error.strerror or error}; choose another one") from error

    @property
    def address(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def serve(self) -> None:
        """Answer until `stop` is called, or Ctrl-C."""
        try:
            self._server.serve_forever(poll_interval=0.2)
        finally:
            self._server.server_close()

    def stop(self) -> None:
        """Let `serve` return."""
        self._server.shutdown()


class _Handler(BoundedHandler):
    shown: Callable[[str], tuple[str, str]]
    refresh: int

    def do_GET(self) -> None:  # noqa: N802 - the name is the standard library's
        """Answer with the page or its data."""
        path = urlsplit(self.path).path
        if not is_loopback_name(name_in_host(self.headers.get("Host", ""))):
            self._send(403, b"only by 127.0.0.1", "text/plain")
        elif path not in ("/", "/report.json"):
            self._send(404, b"there is / and /report.json", "text/plain")
        else:
            try:
                text, kind = self.shown(path)
            except FtsdkError as error:
                self._send(503, str(error).encode(), "text/plain; charset=utf-8")
                return
            self._send(200, text.encode("utf-8", "replace"), kind)

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        # It has no scripts: should a text of a client ever get through as one, it doesn't run.
        self.send_header("Content-Security-Policy", _POLICY)
        if kind != "application/json":
            self.send_header("Refresh", str(self.refresh))
        self.end_headers()
        self.wfile.write(content)
