"""An OpenAI-compatible API on loopback that bills what it answers, in a process or thread of its own."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from ftsdk import TokenPrice

__all__ = ["PRICE", "ApiServer", "Response", "completion"]

PRICE = TokenPrice(input_usd_per_mtok=100, output_usd_per_mtok=1000, source="a price list")


class Response(NamedTuple):
    """What goes back, as bytes on the wire."""

    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - read only
    content: bytes = b""
    length: int | None = None
    """What `Content-Length` says; None: the truth."""
    drip_s: float = 0.0
    """Seconds between parts of the content."""
    resets: bool = False
    """Hang up before anything was sent."""
    is_billed: bool = False


class ApiServer(ThreadingHTTPServer):
    """Repeats the last message, unless `respond` has something else for the n-th request for a question."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.respond: Callable[[dict[str, Any], int], Response | None] = lambda request, n: None
        self.delay_s = 0.0
        self.requests: list[dict[str, Any]] = []
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        """Requests with an answer that can be read."""
        self.billed_usd = Decimal(0)
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up; that is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = request["messages"][-1]["content"]
        server = self.server
        with server.lock:
            server.requests.append(request)
            server.asked[question] += 1
            n = server.asked[question]
        if server.delay_s:
            time.sleep(server.delay_s)
        given = server.respond(request, n)
        response = given or Response(content=completion(request, question), is_billed=True)
        if response.is_billed:
            with server.lock:
                given_tokens, taken = _tokens(request, question)
                server.billed_usd += PRICE.usd(input_tokens=given_tokens, output_tokens=taken)
                server.answered[question] += given is None
        with contextlib.suppress(OSError):
            self._send(response)

    def _send(self, response: Response) -> None:
        if response.resets:
            self.close_connection = True
            return
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        length = len(response.content) if response.length is None else response.length
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if length != len(response.content):
            self.close_connection = True
        if not response.drip_s:
            self.wfile.write(response.content)
            return
        for start in range(len(response.content)):
            self.wfile.write(response.content[start : start + 1])
            time.sleep(response.drip_s)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        pass


def _tokens(request: dict[str, Any], text: str) -> tuple[int, int]:
    """Return what is billed: a token for each byte, but no more of them than the limit."""
    limit: int = request["max_tokens" if "max_tokens" in request else "max_completion_tokens"]
    given = sum(len(message["content"].encode()) + 4 for message in request["messages"])
    return given, min(limit, len(text.encode()) + 1)


def completion(request: dict[str, Any], text: str | None) -> bytes:
    """Return a chat completion with the tokens that are billed."""
    given, taken = _tokens(request, text or "")
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": given, "completion_tokens": taken}}).encode()
