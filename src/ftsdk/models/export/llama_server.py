"""llama.cpp's server in a process of its own, for the time of a proof."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import httpx

from ftsdk.errors import BackendError, MissingExtraError

__all__ = ["LlamaServer", "llama_server"]

_START_S = 300.0
_REQUEST_S = 300.0


class LlamaServer:
    """A running server. Every request names the scale of every adapter: left out, llama.cpp reuses another's cache."""

    def __init__(self, address: str, n_adapters: int) -> None:
        self.url = address
        self._n_adapters = n_adapters
        self._client = httpx.Client(base_url=address, timeout=_REQUEST_S, trust_env=False)

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of a text, its special tokens read as such, and none added."""
        found = self._post("/tokenize", {"content": text, "parse_special": True, "add_special": False})
        return [int(token) for token in found["tokens"]]

    def tokenize_prompt(self, text: str) -> list[int]:
        """Return the ids of a prompt as the server makes them for itself."""
        found = self._post("/tokenize", {"content": text, "parse_special": True, "add_special": True})
        return [int(token) for token in found["tokens"]]

    def apply_template(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return a conversation as the file's template renders it, ready for an answer."""
        return str(self._post("/apply-template", {"messages": [dict(message) for message in messages]})["prompt"])

    def complete(
        self, prompt: Sequence[int], *, max_new_tokens: int, top: int, is_adapted: bool = True
    ) -> Mapping[str, Any]:
        """Return llama.cpp's answer to a prompt of token ids: greedy, and with the log-probabilities of the top."""
        return self._post(
            "/completion",
            {
                "prompt": list(prompt),
                "n_predict": max_new_tokens,
                "temperature": 0.0,
                "n_probs": top,
                "return_tokens": True,
                "cache_prompt": False,
                "lora": [{"id": index, "scale": float(is_adapted)} for index in range(self._n_adapters)],
            },
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            answer = self._client.post(path, json=body)
        except httpx.HTTPError as error:
            raise BackendError(
                f"llama.cpp stopped answering at {path} ({error}); the file may be damaged or the memory used up"
            ) from error
        if answer.status_code != 200:
            raise BackendError(f"llama.cpp refused {path} with {answer.status_code}: {answer.text[:300]}")
        return cast("Mapping[str, Any]", answer.json())


@contextlib.contextmanager
def llama_server(
    path: Path,
    *,
    adapters: Sequence[Path] = (),
    is_adapted: bool = False,
    context: int = 2048,
    threads: int | None = None,
) -> Generator[LlamaServer]:
    """Serve a GGUF file on loopback, for as long as the block lasts.

    Args:
        path: The file.
        adapters: GGUF adapters of it.
        is_adapted: Whether the adapters are on where a request doesn't name scales; one is, at most.
        context: Tokens of prompt and answer.
        threads: None: what OMP_NUM_THREADS says, or all cores up to 8.

    Raises:
        MissingExtraError: xllamacpp isn't installed.
        BackendError: llama.cpp can't load the file.
    """
    if find_spec("xllamacpp") is None:
        raise MissingExtraError("export", needed_for="proving a GGUF file in llama.cpp", missing="xllamacpp")
    stated = os.environ.get("OMP_NUM_THREADS", "")
    settings = {
        "model": str(path),
        "adapters": [str(adapter) for adapter in adapters],
        "context": context,
        "scale": float(is_adapted),
        "threads": threads or (int(stated) if stated.isdigit() and int(stated) else min(8, os.cpu_count() or 1)),
        "verbose": False,
    }
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("llama_child.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    late = threading.Timer(_START_S, child.kill)
    late.start()
    try:
        child.stdin.write(json.dumps(settings) + "\n")
        child.stdin.flush()
        line = child.stdout.readline()
        late.cancel()
        found = cast("dict[str, str]", json.loads(line)) if line.strip() else {}
        if "address" not in found:
            why = found.get("error", f"its process ended with {child.poll()}")
            raise BackendError(f"llama.cpp can't load {path.name}: {why}")
        server = LlamaServer(found["address"], len(adapters))
        try:
            yield server
        finally:
            server.close()
    finally:
        late.cancel()
        with contextlib.suppress(OSError):
            child.stdin.close()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
