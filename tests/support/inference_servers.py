"""Stand-ins on loopback for servers that ftsdk doesn't start: the wire of vLLM and of Ollama, no more than is used."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["OllamaStandIn", "OpenAIStandIn"]


class OpenAIStandIn(ThreadingHTTPServer):
    """Lists models, and answers chats with the name of the model."""

    daemon_threads = True

    def __init__(self, models: list[str], *, key: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _OpenAIHandler)
        self.models = models
        self.key = key

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class OllamaStandIn(OpenAIStandIn):
    """Ollama's own API beside OpenAI's; fields that it doesn't know are refused."""

    def __init__(self, models: list[str]) -> None:
        super().__init__(models)
        self.RequestHandlerClass = _OllamaHandler
        self.blobs: dict[str, bytes] = {}
        self.created: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.weights: dict[str, str] = {}
        """The SHA-256 of each model's weights, where it is known."""


class _OpenAIHandler(BaseHTTPRequestHandler):
    server: OpenAIStandIn  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/v1/models" and self._has_key():
            self._answer(200, {"object": "list", "data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        if not self._has_key():
            return
        body = json.loads(self._body())
        if body["model"] not in self.server.models:
            self._answer(404, {"error": {"message": "no such model"}})
            return
        message = {"role": "assistant", "content": f"I am {body['model']}"}
        self._answer(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        pass

    def _has_key(self) -> bool:
        key = self.server.key
        if key is None or self.headers.get("Authorization") == f"Bearer {key}":
            return True
        self._body()
        self._answer(401, {"error": {"message": "Unauthorized"}})
        return False

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, body: Any = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


_CREATE_FIELDS = {"model", "files", "template", "system", "license", "parameters", "stream"}


class _OllamaHandler(_OpenAIHandler):
    server: OllamaStandIn  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_HEAD(self) -> None:
        self._answer(200 if self.path.rpartition("sha256:")[2] in self.server.blobs else 404)

    def do_GET(self) -> None:
        if self.path == "/api/tags":
            self._answer(200, {"models": [{"name": f"{name}:latest"} for name in self.server.models]})
        else:
            super().do_GET()

    def do_POST(self) -> None:
        if self.path.startswith("/api/blobs/sha256:"):
            content, digest = self._body(), self.path.rpartition("sha256:")[2]
            is_right = hashlib.sha256(content).hexdigest() == digest
            self.server.blobs[digest] = content
            self._answer(201 if is_right else 400)
        elif self.path == "/api/show":
            digest = self.server.weights.get(json.loads(self._body())["model"])
            line = "FROM some-model" if digest is None else f"FROM /root/.ollama/models/blobs/sha256-{digest}"
            self._answer(200, {"modelfile": f"# Modelfile\n{line}\nPARAMETER num_ctx 4096\n"})
        elif self.path == "/api/create":
            body = json.loads(self._body())
            known = [digest.removeprefix("sha256:") in self.server.blobs for digest in body["files"].values()]
            if set(body) - _CREATE_FIELDS or not all(known):
                self._answer(400, {"error": "invalid request"})
                return
            self.server.created.append(body)
            self.server.models.append(body["model"])
            self._answer(200, {"status": "success"})
        else:
            super().do_POST()

    def do_DELETE(self) -> None:
        model = json.loads(self._body())["model"]
        is_there = model in self.server.models
        if is_there:
            self.server.models.remove(model)
        self.server.deleted.append(model)
        self._answer(200 if is_there else 404)
