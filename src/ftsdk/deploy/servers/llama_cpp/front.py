"""The HTTP server that clients talk to: it chooses the adapter by the model's name, and passes answers on as they come.

It runs in llama.cpp's own process, and loads nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import hmac
import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

from ftsdk.deploy.bounded_server import BoundedHandler, BoundedServer, is_loopback_name, name_in_host
from ftsdk.deploy.servers.llama_cpp.request import (
    ANSWERING,
    PASSED_ON,
    Refusal,
    error_body,
    renamed,
    renamed_line,
    rewritten,
)

__all__ = ["Front"]

_LARGEST_BODY = 32 << 20
"""Bytes of a request; a context of a million tokens has fewer."""
_STREAM = "text/event-stream"


class Front(BoundedServer):
    """OpenAI's API for the models of one llama.cpp server.

    Args:
        address: Host and port to listen on; port 0 takes a free one.
        upstream: Host and port of llama.cpp.
        upstream_key: The key that only this front knows, so that no request reaches llama.cpp with other scales.
        models: The adapter's number by the model's name; None is the base, without an adapter.
        key: The key that clients must send; None asks for none.
        timeout_s: Seconds without a byte from llama.cpp after which a request has failed.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        upstream: tuple[str, int],
        upstream_key: str,
        models: Mapping[str, int | None],
        key: str | None = None,
        timeout_s: float = 3600.0,
    ) -> None:
        super().__init__(address, _Handler)
        self.upstream = upstream
        self.upstream_key = upstream_key
        self.models = dict(models)
        self.key = key
        self.timeout_s = timeout_s
        self.started_at = int(time.time())

    @property
    def url(self) -> str:
        """The address for clients, with the API's version."""
        return f"http://{self.server_address[0]}:{self.server_port}/v1"


class _Handler(BoundedHandler):
    server: Front  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:  # noqa: N802 - the name is the standard library's
        """Answer a request without a body."""
        path = self.path.partition("?")[0]
        try:
            self._check_host()
            if path == "/health":
                self._pass_on("GET", path, None)
                return
            self._check_key()
            if path in ("/v1/models", "/models"):
                self._send(200, json.dumps({"object": "list", "data": [self._listed(n) for n in self.server.models]}))
            elif path == "/metrics":
                self._pass_on("GET", path, None)
            else:
                raise _unknown(path)
        except Refusal as refusal:
            self._send(refusal.status, error_body(refusal))

    def do_POST(self) -> None:  # noqa: N802 - the name is the standard library's
        """Choose the adapter, and pass the request on."""
        path = self.path.partition("?")[0]
        try:
            content = self._body()
            if path in ANSWERING:
                request = rewritten(content, self.server.models)
                self._pass_on("POST", path, request.content, model=request.model)
            elif path in PASSED_ON:
                self._pass_on("POST", path, content)
            else:
                raise _unknown(path)
        except Refusal as refusal:
            self._send(refusal.status, error_body(refusal))

    def _body(self) -> bytes:
        """Return the body of a request, once it is known that its client may send one."""
        try:
            self._check_host()
            self._check_key()
        except Refusal:
            self.close_connection = True  # with its body unread
            raise
        try:
            length = int(self.headers["Content-Length"])
        except (TypeError, ValueError):
            self.close_connection = True
            raise Refusal(411, "Content-Length is missing", "length_required") from None
        if not 0 <= length <= _LARGEST_BODY:
            self.close_connection = True
            raise Refusal(413, f"the body is larger than {_LARGEST_BODY >> 20} MiB", "too_large")
        content = self.rfile.read(length)
        # A page in a browser can send other types here without asking, and JSON not.
        if self.headers.get_content_type() != "application/json":
            raise Refusal(415, "the body must be sent as application/json", "content_type")
        return content

    def _check_host(self) -> None:
        """Refuse pages that reach this server by a name of their own (DNS rebinding)."""
        is_local = self.server.server_address[0] == "127.0.0.1"
        if is_local and not is_loopback_name(name_in_host(self.headers.get("Host", ""))):
            raise Refusal(403, "this server answers at 127.0.0.1 and localhost only", "host")

    def _check_key(self) -> None:
        key = self.server.key
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if key is not None and not hmac.compare_digest(given.encode(), key.encode()):
            raise Refusal(401, "the key is missing or wrong; send it as 'Authorization: Bearer ...'", "invalid_api_key")

    def _pass_on(self, method: str, path: str, content: bytes | None, *, model: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {self.server.upstream_key}", "Content-Type": "application/json"}
        upstream = http.client.HTTPConnection(*self.server.upstream, timeout=self.server.timeout_s)
        with contextlib.closing(upstream):
            try:
                upstream.request(method, path, content, headers)
                answer = upstream.getresponse()
                kind = answer.headers.get("Content-Type", "application/json")
                whole = None if kind.startswith(_STREAM) else answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise Refusal(
                    502, f"llama.cpp gave no answer ({type(error).__name__}); see its log", "upstream"
                ) from error
            if whole is None:
                self._stream(answer, kind, model or "")
            else:
                self._send(answer.status, whole if model is None else renamed(whole, model), kind)

    def _stream(self, answer: http.client.HTTPResponse, kind: str, model: str) -> None:
        """Pass events on one by one. A client that hangs up ends the connection to llama.cpp, which stops answering."""
        self.send_response(answer.status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for line in answer:
                sent = renamed_line(line, model)
                self.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent))
            self.wfile.write(b"0\r\n\r\n")
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # without the last chunk, so that the client sees that the answer was cut

    def _send(self, status: int, content: str | bytes, kind: str = "application/json") -> None:
        body = content.encode() if isinstance(content, str) else content
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _listed(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self.server.started_at, "owned_by": "ftsdk"}


def _unknown(path: str) -> Refusal:
    known = ", ".join(sorted({*ANSWERING, *PASSED_ON, "/v1/models", "/health", "/metrics"}))
    return Refusal(404, f"no {path[:100]!r} here; there are {known}", "not_found")
