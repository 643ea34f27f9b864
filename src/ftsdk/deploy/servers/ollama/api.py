"""Ollama's own API, as far as models are registered and removed by it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import httpx

from ftsdk._format import printable
from ftsdk.errors import BackendError

__all__ = ["OllamaApi", "sha256_of"]

_BLOB = re.compile(r"^FROM .*sha256[-:]([0-9a-f]{64})$", re.MULTILINE)
_CREATE_S = 1800.0
"""Seconds for what copies gigabytes."""


class OllamaApi:
    """One Ollama.

    Args:
        url: Its address, without a version.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.Client(base_url=url, timeout=httpx.Timeout(30.0, read=_CREATE_S, write=_CREATE_S))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def models(self) -> list[str]:
        """Return the names of all models, without the tag `latest`."""
        found = self._json("GET", "/api/tags").get("models", [])
        return [str(one["name"]).removesuffix(":latest") for one in found]

    def weights_of(self, model: str) -> str | None:
        """Return the SHA-256 of a model's weights; None if Ollama doesn't say."""
        answer = self._send("POST", "/api/show", json={"model": model})
        try:
            found = _BLOB.search(str(json.loads(answer.content)["modelfile"]))
        except (ValueError, KeyError, TypeError):
            return None
        return None if found is None else found[1]

    def upload(self, file: Path) -> str:
        """Send a file, unless Ollama has it; return its SHA-256."""
        digest = sha256_of(file)
        with file.open("rb") as opened:
            path = f"/api/blobs/sha256:{digest}"
            if self._send("HEAD", path).status_code != 200:
                answer = self._send("POST", path, content=opened, headers={"Content-Length": str(file.stat().st_size)})
                self._check(answer, f"sending {file.name}")
        return digest

    def create(self, body: dict[str, Any]) -> None:
        """Register a model."""
        answer = self._send("POST", "/api/create", json=body)
        self._check(answer, f"registering {body['model']}")

    def delete(self, model: str) -> None:
        """Remove a model; one that is gone already is fine."""
        answer = self._send("DELETE", "/api/delete", json={"model": model})
        if answer.status_code != 404:
            self._check(answer, f"removing {model}")

    def _json(self, method: str, path: str) -> dict[str, Any]:
        answer = self._send(method, path)
        self._check(answer, f"asking for {path}")
        try:
            return json.loads(answer.content)
        except ValueError as error:
            raise BackendError(f"{self._url}{path} isn't answered with JSON; is that Ollama?") from error

    def _send(self, method: str, path: str, **fields: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **fields)
        except httpx.HTTPError as error:
            raise BackendError(
                f"Ollama doesn't answer at {self._url} ({type(error).__name__}); start it (`ollama serve`), or pass "
                "Ollama(url=...)",
                retryable=True,
            ) from error

    def _check(self, answer: httpx.Response, doing: str) -> None:
        if answer.status_code >= 400:
            said = printable(answer.text[:300])
            raise BackendError(f"{doing}: Ollama answered {answer.status_code}: {said}", status_code=answer.status_code)


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, by which Ollama knows it."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
