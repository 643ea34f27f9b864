"""An upload is one commit of what the manifest lists, to a hub on loopback."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import ModelError
from ftsdk.models.export import export_model
from ftsdk.models.export.export_manifest import seal_export
from ftsdk.models.export.hub import push_to_hub

pytest.importorskip("peft", reason="the extra 'local' isn't installed")

PUSH = """\
import sys
from ftsdk.models.export import push_to_hub
try:
    print(push_to_hub(sys.argv[1], "me/mails", endpoint=sys.argv[2]))
except Exception as error:
    print(type(error).__name__, error)
"""


class Hub(ThreadingHTTPServer):
    """Takes a commit whose files travel in it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.files: dict[str, bytes] = {}
        self.refusal = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server has
        """Keep quiet."""

    def do_GET(self) -> None:
        self._answer(200, {"id": "me/mails", "sha": "0" * 40, "siblings": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub = self.server
        if hub.refusal:
            return self._answer(hub.refusal, {"error": "no"})
        if self.path.endswith("/api/repos/create"):
            hub.asked.append(("create", json.loads(body)))
            return self._answer(200, {"url": f"{hub.url}/me/mails", "name": "me/mails"})
        if "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self._answer(200, {"files": files})
        if "/commit/" in self.path:
            lines = [json.loads(line) for line in body.decode().splitlines()]
            hub.asked.append(("commit", lines[0]["value"]))
            for line in lines[1:]:
                hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self._answer(200, {"commitUrl": f"{hub.url}/me/mails/commit/1", "commitOid": "1", "success": True})
        return self._answer(200, {"errors": [], "warnings": []})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def pushed(folder: Path, hub: Hub) -> str:
    """Upload in a process that isn't offline: huggingface_hub reads that when it is imported."""
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment |= {"HF_TOKEN": "hf_" + "x" * 20, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    found = subprocess.run(
        [sys.executable, "-c", PUSH, str(folder), hub.url],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return found.stdout + found.stderr


def test_an_export_is_uploaded_as_one_private_commit(make_adapter: Any, tmp_path: Path, hub: Hub) -> None:
    export_model(make_adapter(), tmp_path / "out", to="adapter", prove=False)
    (tmp_path / "out" / "notes.txt").write_text("not for others")

    said = pushed(tmp_path / "out", hub)

    assert "/me/mails/commit/1" in said, said
    assert [name for name, _ in hub.asked] == ["create", "commit"]
    # "private" until huggingface_hub 1, "visibility" since.
    assert hub.asked[0][1].get("private") is True or hub.asked[0][1].get("visibility") == "private"
    assert "notes.txt" not in hub.files
    assert hub.files["README.md"].decode().startswith("---\nlibrary_name: peft")
    assert hub.files["adapter_model.safetensors"] == (tmp_path / "out" / "adapter_model.safetensors").read_bytes()


def test_a_hub_that_refuses_is_an_error_in_words(make_adapter: Any, tmp_path: Path, hub: Hub) -> None:
    export_model(make_adapter(), tmp_path / "out", to="adapter", prove=False)
    hub.refusal = 403

    said = pushed(tmp_path / "out", hub)

    assert "CredentialsError" in said
    assert "hf auth login" in said
    assert "hf_xxx" not in said


def test_a_failed_export_is_not_uploaded(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("")
    seal_export(tmp_path, {"to": "merged", "quantization": "f32", "state": "failed"})

    with pytest.raises(ModelError, match="isn't the model that was evaluated"):
        push_to_hub(tmp_path, "me/mails")
